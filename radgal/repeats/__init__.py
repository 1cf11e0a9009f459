"""Many runs compared: seeds, folds, configs."""
