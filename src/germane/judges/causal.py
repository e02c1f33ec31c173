"""Language models by name: weights, tokenizer and what turns an image into patches. Only code of transformers is run."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from germane.extras import needs
from germane.judges.loading import locate
from germane.store import sha256
from germane.types import InputError

MODEL, ADAPTER = "model", "adapter"
"""The folders inside a judge's: of whole weights, or of adapters over those of the base."""
PICTURES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")
"""Models whose images are read in process: patches of any size, one token for each square of them."""
MAX_PIXELS = 512 * 512
MIN_PIXELS = 64 * 64


class Language(NamedTuple):
    """A language model, ready to be asked or trained. random: nothing was ever learned. pictures: of images, or None."""

    model: Any
    tokenizer: Any
    pictures: Any
    random: bool


def precision(device: str, *, halved: bool = True) -> Any:
    """bf16 on a GPU that has it, where `halved`; else fp32."""
    import torch

    return torch.bfloat16 if halved and device.startswith("cuda") and torch.cuda.is_bf16_supported() else torch.float32


def language_model(
    name: str | Path, *, device: str, dtype: Any = None, images: bool = False, quantised: bool = False, seed: int = 0
) -> Language:
    """A causal or image-text model by folder or hub name. A folder with a config and no weights gives random ones (seed).

    quantised: weights in 4 bits (NF4), which needs bitsandbytes and a CUDA GPU.
    Raises: InputError for a model that does not write text, an unknown architecture, and images where they cannot be read.
    """
    needs("train", "torch", "transformers", by="judges/generative.py")
    import transformers

    where = locate(name)
    config = _config(where)
    vision = config.model_type in _vision_types() and getattr(config, "vision_config", None) is not None
    if images and config.model_type not in PICTURES:
        raise InputError(f"{name} is a {config.model_type}: images are read by {', '.join(PICTURES)}; leave them out")
    bare = Path(where).is_dir() and not _weights(Path(where))
    if quantised and bare:
        raise InputError(f"{name} has a config and no weights: there is nothing to hold in 4 bits")
    loader = transformers.AutoModelForImageTextToText if vision else transformers.AutoModelForCausalLM
    options: dict[str, Any] = {"dtype": dtype if dtype is not None else precision(device)}
    try:
        tokenizer = tokenizer_of(where)
        if bare:
            transformers.set_seed(seed)
            model = loader.from_config(config, trust_remote_code=False, **options)  # type: ignore[no-untyped-call]
        else:
            options |= _four_bits(device) if quantised else {}
            model = loader.from_pretrained(where, config=config, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError) as problem:
        raise InputError(f"{name} could not be loaded: {str(problem).strip().splitlines()[0]}") from problem
    if not quantised:
        model = model.to(device)
    return Language(model.eval(), tokenizer, pictures(where, config) if images else None, bare)


def tokenizer_of(where: str) -> Any:
    """The tokenizer in a folder, or of a hub's name."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(where, trust_remote_code=False)


def four_bits_there(device: str) -> None:
    """Returns if weights can be held in 4 bits. Raises: InputError saying what is missing."""
    needs("train", "bitsandbytes", by="4-bit weights (QLoRA)")
    if not device.startswith("cuda"):
        raise InputError(f"4-bit weights (QLoRA) need a CUDA GPU, and the device is {device!r}: leave --quantised out")


def _four_bits(device: str) -> dict[str, Any]:
    import torch
    from transformers import BitsAndBytesConfig

    four_bits_there(device)
    how = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": how, "device_map": {"": torch.cuda.current_device() if device == "cuda" else device}}


def pictures(where: str, config: Any) -> Any:
    """What turns images into patches for this model. torchvision is not needed.

    Raises: InputError without Pillow.
    """
    needs("train", "PIL", by="judges with images")
    from transformers import Qwen2VLImageProcessorPil

    sizes = {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS}
    if not Path(where).is_dir() or (Path(where) / "preprocessor_config.json").is_file():
        return Qwen2VLImageProcessorPil.from_pretrained(where, size=sizes)
    vision = config.vision_config
    half = [0.5, 0.5, 0.5]  # of Qwen3-VL; its own file says so where there is one
    return Qwen2VLImageProcessorPil(
        patch_size=vision.patch_size,
        temporal_patch_size=vision.temporal_patch_size,
        merge_size=vision.spatial_merge_size,
        image_mean=half,
        image_std=half,
        size=sizes,
    )


def digest(name: str | Path, config: Any) -> str:
    """What tells this model from another of the same name: 16 hex digits of its files, or the hub's commit."""
    where = Path(locate(name))
    if not where.is_dir():
        return str(getattr(config, "_commit_hash", None) or "unknown")
    files = [where / "config.json", *_weights(where)]
    said = "".join(f"{path.name}:{sha256(path)};" for path in files)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _weights(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")])


def _config(where: str) -> Any:
    from transformers import AutoConfig
    from transformers.models.auto import modeling_auto as auto

    try:
        config = AutoConfig.from_pretrained(where, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as problem:
        raise InputError(f"{where} could not be loaded: {str(problem).strip().splitlines()[0]}") from problem
    kind = config.model_type
    writes = kind in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or kind in _vision_types()
    encoder = kind in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False)
    if not writes or encoder or getattr(config, "is_encoder_decoder", False):
        raise InputError(f"{where} is a {kind}, which does not write text: it can be the base of a cross-encoder")
    return config


def _vision_types() -> set[str]:
    from transformers.models.auto import modeling_auto as auto

    return set(auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
