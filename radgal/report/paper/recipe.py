"""Every key of a config as words for a paper: each is said, or is named here as one that changes no number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from radgal.config.keys import SECTIONS
from utils import counted

CHANGE_NO_NUMBER = {
    "model": ("quiet",),
    "data": ("datadir", "download", "mirror", "table"),
    "training": ("resume", "device", "compile", "num_classes"),
    "output": tuple(SECTIONS["output"].model_fields),
    "metrics": tuple(SECTIONS["metrics"].model_fields),
}
"""Keys that say where files lie, how it is computed, or what the data say already."""
Cite = Callable[..., str]
Values = Mapping[str, Any]


def values_of(config: Mapping[str, Mapping[str, Any]], section: str) -> dict[str, Any]:
    """Returns the values of a section, with its defaults: an older config.txt does not have all keys."""
    fields = SECTIONS[section].model_fields
    defaults = {key: field.default for key, field in fields.items() if not field.is_required()}
    return defaults | dict(config.get(section, {}))


def network(m: Values, cite: Cite) -> list[str]:
    """[model]."""
    base, n = str(m["base"]), m["nrot"]
    kind = base
    cited = cite("Scaife2021", "LeCun1998") if n is None else cite("Scaife2021", "Weiler2019")
    if n is not None:
        kind += f" with N = {n} rotations"
    heads = {"flatten": "the maps flattened before the dense layers", "invariant": "the maps pooled over the image"}
    mask = "a circular mask" if m["mask"] else "no mask"
    engine = {"fast": "this program's steerable layers", "e2cnn": "the layers of e2cnn"}.get(m["engine"], m["engine"])
    return [
        f"The network is {kind} {cited}, with {mask} on the input, {heads.get(m['head'], m['head'])}, and dropout of "
        f"{m['dropout']} before the last layer" + ("" if n is None else f"; it was computed by {engine}")
    ]


def images(d: Values, t: Values, cite: Cite) -> list[str]:
    """[data], and the size of the images."""
    side, pad, square = t["imsize"], d["pad"], d["downsample"]
    size = f"Of each image the central {side} by {side} pixels were taken"
    size += f", with {pad} rows and columns of background added" if pad else ""
    size += f", and squares of {square} by {square} pixels averaged" if square != 1 else ""
    mean, sd = d["datamean"], d["datastd"]
    norm = "the mean and standard deviation of the training data set"
    if mean is not None or sd is not None:
        given = {"mean": mean, "standard deviation": sd}
        norm = " and ".join(
            f"the data set's own {what}" if one is None else f"a {what} of {one}" for what, one in given.items()
        )
    sentences = [f"{size}; pixels were normalized by {norm}"]
    if d.get("dataset") == "ImageTable":
        scale = d["pixel_scale"]
        of = "" if scale is None else f", of {scale} arcsec per pixel,"
        sentences.append(f"The images{of} were prepared by the recipe {d['recipe']}")
    if d["also"]:
        sentences.append(f"Further training sources came from {', '.join(map(str, d['also']))}")
    if d["leave_out"]:
        sentences.append(f"Sources that are in {', '.join(map(str, d['leave_out']))} were left out of training")
    if d["train_on"] == "all":
        sentences.append("The test part of the data set was trained on, too, so that nothing is tested on it")
    return sentences


def division(d: Values, t: Values, cite: Cite) -> list[str]:
    """How validation and test sources are chosen."""
    if d["val_fold"] is not None:
        how = f"part {d['val_fold']} of the training sources, drawn class by class, was held out for validation"
    elif t["frac_val"]:
        which = "drawn class by class" if d["split"] == "stratified" else "the first of the file"
        how = f"a share of {t['frac_val']} of the training sources, {which}, was held out for validation"
    else:
        how = "no sources were held out for validation"
    sentences = [how[0].upper() + how[1:]]
    if d["train_size"] is not None:
        sentences.append(f"Of the others {d['train_size']} were drawn to train on")
    if d["fold"] is not None:
        sentences.append(f"For cross-validation over all sources part {d['fold']} was tested")
    return sentences


def optimization(t: Values, cite: Cite) -> list[str]:
    """How the weights are changed."""
    adam = {
        "adam": f"Adam {cite('Kingma2015')} with an L2 penalty of {t['decay']}",
        "adamw": f"AdamW {cite('Loshchilov2019')} with a weight decay of {t['decay']}",
    }[t["optimizer"]]
    rates = {
        "plateau": f"a learning rate of {t['lr0']}, times 0.9 whenever the validation loss stalled",
        "cosine": f"a learning rate that fell from {t['lr0']} by half a cosine {cite('Loshchilov2017')}",
        "onecycle": f"a learning rate that rose to {t['lr0']} in the first {t['warmup']} of the run and then fell "
        f"{cite('Smith2019')}",
        "none": f"a constant learning rate of {t['lr0']}",
    }[t["scheduler"]]
    text = f"We trained for at most {counted(t['epochs'], 'epoch')} in batches of {t['batch_size']}"
    text += f" with {adam} and {rates}"
    if t["label_smoothing"]:
        text += f", with labels smoothed by {t['label_smoothing']} {cite('Szegedy2016')}"
    if t["ema"] is not None:
        text += f"; a moving average of the weights with a decay of {t['ema']} per batch was kept {cite('Polyak1992')}"
    sentences = [text]
    if t["start_from"] is not None:
        frozen = (
            f", with all but the last layer frozen for {counted(t['freeze_epochs'], 'epoch')}"
            if t["freeze_epochs"]
            else ""
        )
        sentences.append(f"The first weights were those of {t['start_from']}{frozen}")
    return sentences


def augmentation(d: Values, t: Values, cite: Cite) -> list[str]:
    """How training images are changed, and how validation is done."""
    words = {
        "rotate": "a random rotation",
        "flip": "a random reflection",
        "scale": "a random scale",
        "shift": "a random shift",
        "brightness": "a random brightness",
        "noise": "random noise",
    }
    if d["augment"] == "none":
        sentences = ["Training images were not augmented"]
    else:
        changes = ", ".join(words.get(one, one) for one in str(d["augment"]).split("+"))
        sentences = [f"Each training image was given {changes}, anew in each epoch"]
    if t["val_augment"]:
        sentences.append("Validation images were augmented, too")
    if t["val_rotations"] != 1:
        sentences.append(f"Validation was averaged over {t['val_rotations']} rotations")
    return sentences


def choice(m: Values, t: Values, cite: Cite) -> list[str]:
    """Which epoch is kept, by which seed, at which precision."""
    keeps_last = t["keep"] == "last" or (t["keep"] is None and not m["early_stopping"])
    measure = {"val_accuracy": "validation accuracy", "val_loss": "validation loss"}[t["monitor"]]
    kept = "The last epoch was kept" if keeps_last else f"The epoch of the best {measure} was kept"
    if t["patience"] is not None:
        kept += f", and training stopped after {counted(t['patience'], 'epoch')} without a better {measure}"
    return [f"{kept}; the seed is {t['seed']}, and the precision {t['precision']}"]


def describe_recipe(config: Mapping[str, Mapping[str, Any]], cite: Cite) -> list[str]:
    """Returns the recipe of a config as sentences without their full stop."""
    m, d, t = (values_of(config, section) for section in ("model", "data", "training"))
    sentences = network(m, cite) + images(d, t, cite) + division(d, t, cite) + augmentation(d, t, cite)
    sentences += optimization(t, cite) + choice(m, t, cite)
    unknown = [
        f"{section} {key} = {value!r}"
        for section, values in config.items()
        for key, value in values.items()
        if section not in SECTIONS or key not in SECTIONS[section].model_fields
    ]
    return sentences + ([f"Further keys of the config are {', '.join(unknown)}"] if unknown else [])
