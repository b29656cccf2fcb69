"""From an image to classes, against softmax and Pillow as numpy has them."""

import asyncio
import io
import json
from dataclasses import replace

import image_service as served
import ml_dtypes
import numpy as np
import pytest
from PIL import Image

from nd_deploy.preprocess import Preprocessing
from nd_deploy.serve.exchange import InferResponse, OutputWanted
from nd_deploy.serve.images.classification import classify
from nd_deploy.serve.images.decoder import Decoder
from nd_deploy.serve.refusal import Refusal
from nd_deploy.serve.settings import Settings

SETTINGS = Settings()
JPEG = served.encoded(served.picture((40, 30)), "JPEG")
NORMALISED = Preprocessing("RGB", (4, 6), "bicubic", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


@pytest.fixture(scope="module")
def decoder():
    decoder = Decoder(SETTINGS)
    yield decoder
    decoder.close()


def ask(decoder, service, body=JPEG, model="pets", settings=SETTINGS, **options):
    return asyncio.run(classify(service, settings, decoder, model, body, **options))


def refused(decoder, service, **options):
    with pytest.raises(Refusal) as caught:
        ask(decoder, service, **options)
    return caught.value


def by_numpy(service, data=JPEG, dtype=np.float32):
    """The probabilities under NORMALISED."""
    image = Image.open(io.BytesIO(data)).resize((6, 4), Image.Resampling.BICUBIC)
    values = (np.asarray(image) / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]
    flat = values.transpose(2, 0, 1).reshape(1, -1).astype(dtype)
    (logits,) = flat.astype(np.float64) @ service.weight("pets")
    return np.exp(logits) / np.exp(logits).sum()


def test_scores_are_the_softmax_of_the_model_outputs(decoder):
    service = served.LinearModels(served.spec(preprocessing=NORMALISED))
    answer = ask(decoder, service, top_k=6)
    expected = by_numpy(service)
    assert (answer["model_name"], answer["model_version"]) == ("pets", "3")
    assert [each["index"] for each in answer["predictions"]] == list(np.argsort(-expected))
    for each in answer["predictions"]:
        assert each["score"] == pytest.approx(expected[each["index"]], rel=1e-4)
        assert each["label"] == served.LABELS[each["index"]]
    assert json.loads(json.dumps(answer)) == answer


@pytest.mark.parametrize(("top_k", "given"), [(1, 1), (5, 5), (6, 6), (999_999, 6)])
def test_as_many_classes_are_given_as_are_asked_for_and_exist(decoder, top_k, given):
    service = served.LinearModels(served.spec())
    everything = ask(decoder, service, top_k=6)["predictions"]
    assert ask(decoder, service, top_k=top_k)["predictions"] == everything[:given]


def test_five_classes_are_given_unless_asked_for_others(decoder):
    assert len(ask(decoder, served.LinearModels(served.spec()))["predictions"]) == 5


@pytest.mark.parametrize("top_k", [0, -1])
def test_less_than_one_class_is_refused(decoder, top_k):
    assert refused(decoder, served.LinearModels(served.spec()), top_k=top_k).status == 400


def test_without_labels_a_class_is_its_number(decoder):
    service = served.LinearModels(served.spec(labels=()))
    for each in ask(decoder, service)["predictions"]:
        assert each["label"] == str(each["index"])


@pytest.mark.parametrize(
    ("datatype", "dtype", "tolerance"),
    [("FP64", np.float64, 1e-4), ("FP16", np.float16, 0.02), ("BF16", ml_dtypes.bfloat16, 0.2)],
)
def test_the_model_is_given_one_image_in_its_own_dtype(decoder, datatype, dtype, tolerance):
    service = served.LinearModels(served.spec(preprocessing=NORMALISED, datatype=datatype))
    answer = ask(decoder, service, top_k=6)
    (request,) = service.requests
    assert request.inputs["image"].dtype == dtype
    assert request.inputs["image"].shape == (1, 3, 4, 6)
    assert request.outputs == (OutputWanted("logits"),)
    expected = by_numpy(service, dtype=dtype)
    for each in answer["predictions"]:
        assert each["score"] == pytest.approx(expected[each["index"]], abs=tolerance)


def test_a_fixed_batch_is_filled_up(decoder):
    open_, fixed = (served.LinearModels(served.spec(batch=batch)) for batch in (-1, 4))
    assert ask(decoder, fixed) == ask(decoder, open_)
    images = fixed.requests[0].inputs["image"]
    assert images.shape == (4, 3, 4, 6)
    assert (images == images[:1]).all()


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        (served.spec(preprocessing=None), "reads no image"),
        (replace(served.spec(), inputs=2 * served.spec().inputs), "reads no image"),
        (served.spec(classes=()), "no score for each class"),
        (served.spec(classes=(6, 8, 8)), "no score for each class"),
    ],
)
def test_a_model_that_classifies_no_image_names_the_endpoint_that_it_has(decoder, spec, complaint):
    refusal = refused(decoder, served.LinearModels(spec))
    assert refusal.status == 400
    assert complaint in refusal.message
    assert "POST /v2/models/pets/infer" in refusal.message


def test_an_unknown_model_is_not_found(decoder):
    assert refused(decoder, served.LinearModels(served.spec()), model="cars").status == 404


def test_a_bad_image_never_reaches_the_model(decoder):
    service = served.LinearModels(served.spec())
    assert refused(decoder, service, body=JPEG[:200]).status == 400
    assert service.requests == []


@pytest.mark.parametrize("scale", [np.nan, 1e300])
def test_scores_that_are_not_finite_are_not_made_up(decoder, scale):
    refusal = refused(decoder, served.LinearModels(served.spec(), scale=scale))
    assert refusal.status == 422
    assert "binary" in refusal.message


class Slow(Decoder):
    """Never has done."""

    async def decode(self, body, content_type, preprocessing):
        await asyncio.Event().wait()


def test_the_deadline_holds_for_decoding():
    slow = Slow(SETTINGS)
    settings = replace(SETTINGS, deadline=0.01)
    service = served.LinearModels(served.spec())
    assert refused(slow, service, settings=settings).status == 504
    slow.close()


def test_the_model_gets_what_is_left_of_the_deadline(decoder):
    service = served.LinearModels(served.spec())
    ask(decoder, service, settings=replace(SETTINGS, deadline=20.0))
    assert 0 < service.requests[0].timeout < 20


class Reloaded(served.LinearModels):
    """A service whose model is exchanged for another while the first request runs."""

    def __init__(self, before, after):
        super().__init__(before)
        self._after = after

    async def infer(self, request) -> InferResponse:
        self.specs["pets"] = self._after
        return await super().infer(request)


def test_a_reload_in_between_never_mixes_one_preprocessing_with_another_model(decoder):
    after = served.spec(preprocessing=NORMALISED, labels=tuple("abcdef"))
    answer = ask(decoder, Reloaded(served.spec(), after))
    assert answer == ask(decoder, served.LinearModels(after))


def test_a_reload_that_keeps_the_preprocessing_costs_no_second_run(decoder):
    service = Reloaded(served.spec(), served.spec(labels=tuple("abcdef")))
    assert ask(decoder, service)["predictions"][0]["label"] in "abcdef"
    assert len(service.requests) == 1
