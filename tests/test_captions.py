"""Captions of images: once each, kept, and never an empty one. The models here are random: what they say means nothing."""

import json
import shutil
from pathlib import Path

import pytest

from germane.training.captions import BROKEN, CAPTION, EMPTY, MISSING, Captions, ImageToText, captions, image_names
from germane.types import InputError

pytest.importorskip("torch", reason="captions need the extra train")


class Named:
    """A captioner that says how wide an image is, and counts what it is shown."""

    def __init__(self, fingerprint="captions:one", says="{} wide"):
        self.fingerprint, self.says, self.shown = fingerprint, says, []

    def __call__(self, images):
        self.shown.append(len(images))
        return [self.says.format(image.width) for image in images]


@pytest.fixture
def images(tmp_path):
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    for width in (30, 40, 50):
        Image.new("RGB", (width, 30), (width, 0, 0)).save(folder / f"{width}.png")
    shutil.copy(folder / "30.png", folder / "again.png")
    (folder / "broken.jpg").write_bytes((folder / "40.png").read_bytes()[:60])
    (folder / "text.png").write_text("no image")
    (tmp_path / "outside.png").write_bytes((folder / "30.png").read_bytes())
    return folder


@pytest.fixture
def kept(tmp_path):
    return Captions(tmp_path / "captions.jsonl")


def test_an_image_is_shown_once_however_many_documents_have_it(images, kept):
    model = Named()
    found = captions(["30.png", "40.png", "again.png", "30.png"], images, model, kept)
    assert found.text == ("30 wide", "40 wide", "30 wide", "30 wide")
    assert (found.outcome, found.asked) == ((CAPTION,) * 4, 2)
    found = captions(["again.png", "50.png"], images, model, kept)
    assert (found.text, found.asked, model.shown) == (("30 wide", "50 wide"), 1, [2, 1])
    assert captions(["30.png", "50.png"], images, model, kept).asked == 0


def test_an_image_without_a_caption_has_a_reason_instead(images, kept):
    names = [None, "", "none.png", "../outside.png", "broken.jpg", "text.png", "x\0y", "30.png"]
    found = captions(names, images, Named(), kept)
    assert found.text == (*[None] * 7, "30 wide")
    assert [outcome.partition(":")[0] for outcome in found.outcome] == [*[MISSING] * 4, *[BROKEN] * 2, MISSING, CAPTION]
    assert "lies outside of the folder" in found.outcome[3]
    assert "cannot be read" in found.outcome[4]
    assert captions(["30.png"], images, Named("captions:two", "  \n"), kept).outcome == (f"{EMPTY}: the model said nothing",)
    assert captions(["30.png"], images, Named("captions:two", "  \n"), kept).asked == 0


def test_another_model_is_asked_anew_and_neither_answers_for_the_other(images, kept):
    captions(["30.png"], images, Named(), kept)
    assert captions(["30.png"], images, Named("captions:two", "red"), kept).text == ("red",)
    assert captions(["30.png"], images, Named("captions:one", "blue"), kept).text == ("30 wide",)


def test_a_kill_loses_the_batch_in_flight_and_no_more(images, kept):
    class Killed(Named):
        def __call__(self, images):
            if len(self.shown) == 1:
                raise KeyboardInterrupt
            return super().__call__(images)

    with pytest.raises(KeyboardInterrupt):
        captions(["30.png", "40.png", "50.png"], images, Killed(), kept, batch=1)
    lines = kept.path.read_text()
    kept.path.write_text(lines + lines[:50])  # and a line that was cut short
    model = Named()
    found = captions(["30.png", "40.png", "50.png"], images, model, kept)
    assert (found.text, found.asked) == (("30 wide", "40 wide", "50 wide"), 2)
    assert [json.loads(line)["caption"] for line in kept.path.read_text().splitlines() if line.endswith("}")] == [
        "30 wide",
        "40 wide",
        "50 wide",
    ]
    assert captions(["40.png"], images, Named(), kept).asked == 0


def test_images_are_found_by_the_documents_ids(images):
    assert image_names(["40", "again", "7", "broken"], images) == ["40.png", "again.png", None, "broken.jpg"]


def test_real_photos_are_read(data, kept):
    folder = data("product_images")
    names = [p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*.jpg"))[:12]]
    found = captions(names, folder, Named(), kept, batch=5)
    assert (set(found.outcome), found.asked) == ({CAPTION}, 12)


def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(24))]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return made


@pytest.fixture(scope="module")
def blip(tmp_path_factory) -> Path:
    """A tiny BLIP with random weights."""
    import torch
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessorPil, BlipProcessor

    torch.manual_seed(3)
    layer = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**layer, "vocab_size": 28, "projection_dim": 16, "encoder_hidden_size": 16, "max_position_embeddings": 48}
    text |= {"bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    config = BlipConfig(text_config=text, vision_config={**layer, "image_size": 32, "patch_size": 16}, projection_dim=16)
    folder = tmp_path_factory.mktemp("blip")
    BlipForConditionalGeneration(config).save_pretrained(folder)
    vocabulary = tokenizer().get_vocab()
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)) + "\n")
    reads = BertTokenizer(str(folder / "vocab.txt"))
    BlipProcessor(BlipImageProcessorPil(size={"height": 32, "width": 32}), reads).save_pretrained(folder)
    return folder


def test_a_blip_by_its_folder_says_the_same_of_the_same_image(blip, images, kept):
    model = ImageToText(blip, device="cpu", longest=5)
    found = captions(["30.png", "40.png"], images, model, kept)
    assert found.asked == 2
    for text, outcome in zip(found.text, found.outcome, strict=True):
        assert (text and outcome == CAPTION) or (text is None and outcome.startswith(EMPTY))
    again = Captions(kept.path.with_name("other.jsonl"))
    assert captions(["40.png", "30.png"], images, ImageToText(blip, device="cpu", longest=5), again).text == found.text[::-1]
    asked = ImageToText(blip, device="cpu", prompt="w3 w4", longest=5)
    assert asked.fingerprint != model.fingerprint
    assert captions(["30.png"], images, asked, kept).asked == 1


def test_models_that_describe_no_images_are_refused(tmp_path, blip):
    from transformers import BertConfig

    BertConfig().save_pretrained(tmp_path / "bert")
    with pytest.raises(InputError, match="is a bert, which does not describe images"):
        ImageToText(tmp_path / "bert")
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(blip / "config.json", bare)
    with pytest.raises(InputError, match="has no weights: what it says of an image would mean nothing"):
        ImageToText(bare)
    with pytest.raises(InputError, match="there is no such folder"):
        ImageToText("./not here")


@pytest.fixture(scope="module")
def qwen(tmp_path_factory) -> Path:
    """A tiny Qwen3-VL with random weights."""
    import torch
    from transformers import PreTrainedTokenizerFast, Qwen3VLConfig, Qwen3VLForConditionalGeneration

    torch.manual_seed(3)
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 32}
    text |= {"num_key_value_heads": 1, "head_dim": 8}
    text |= {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}}
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16, "patch_size": 8}
    vision |= {"deepstack_visual_indexes": [0], "num_position_embeddings": 16}
    marks = {"image_token_id": 28, "video_token_id": 29, "vision_start_token_id": 30, "vision_end_token_id": 31}
    folder = tmp_path_factory.mktemp("qwen")
    Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision, **marks)).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer(), pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    return folder


def test_a_vision_language_model_says_the_same_of_an_image_alone_and_beside_others(qwen, images, kept):
    model = ImageToText(qwen, device="cpu", longest=4)
    found = captions(["30.png", "40.png", "50.png"], images, model, kept)
    alone = captions(["40.png"], images, model, Captions(kept.path.with_name("other.jsonl")))
    assert (found.asked, alone.text) == (3, (found.text[1],))
    assert any(found.text)
