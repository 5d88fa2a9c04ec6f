"""What a user writes: every part of the public face once. A type checker accepts it, and it runs."""

import tempfile
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader, Subset

import noiseproof as npf


def main(out: Path) -> float:
    test = npf.data.load("digits", "test")
    images, labels = test.read(range(6)), test.labels[:6]

    model = npf.models.load("noiseproof.models:DigitsCNN")
    noise: npf.noises.Noise = model.noise or npf.Gaussian(sigma=0.25)
    smoothed = npf.SmoothedClassifier(model, noise, model.num_classes or test.num_classes)

    certified: npf.Certified = smoothed.certify(images, samples=100, alpha=0.01)
    fixed = npf.FixedSamples(100, bound=npf.bounds.SinglePhase(), certificate=npf.certificates.Renyi())
    rules: list[npf.FixedSamples | npf.sequential.StoppingRule] = [
        fixed,
        npf.CertifyRadii([0.1, 0.25], max_samples=200),
        npf.EstimateRadius(rtol=0.5, max_samples=200),
        npf.IdentifyTopClass(max_samples=200),
    ]
    radii = [float(smoothed.certify(images, stop=rule).radius.max()) for rule in rules]
    again = npf.certify_votes(certified.votes, noise, alpha=0.05, bound=npf.bounds.Bonferroni())
    right = (smoothed.predict(images, samples=100) == labels) & (again.prediction != npf.ABSTAIN)

    batches = (batch for batch, _ in DataLoader(Subset(test, range(6)), batch_size=4))
    streamed = smoothed.certify(batches, samples=100, alpha=0.01, progress=True)
    indexed = iter([npf.data.IndexedImages(images, range(6))])
    same: bool = streamed.to_dict() == smoothed.certify(indexed, samples=100, alpha=0.01).to_dict()
    rows: int = streamed.to_table().num_rows
    image, label = test[0]
    print(streamed, rows, same, image.shape, label, smoothed(images))

    attack: npf.attacks.Attack = npf.attacks.PGD(steps=1, eot_samples=2)
    found = attack(smoothed, images, labels, epsilons=[0.25], norm=npf.perturbations.Norm.L2, samples=20)
    beaten = int((found.verdicts == npf.evaluation.Verdict.WRONG).sum())

    subject = npf.runs.Subject.of(model, noise, test, name="mine")
    job = npf.runs.CountVotes(samples=20, selection=npf.runs.Selection(every=100))
    record, left = npf.runs.execute(job, out / "mine", subject)
    stored: npf.records.Record = npf.records.Record.open(out / "mine")
    summary = npf.evaluation.summarise(stored.certify(alpha=0.1), stored.read().label, np.array([0.1]), alpha=0.1)

    settings = npf.training.TrainingSettings("digits-cnn", npf.objectives.Stability(), noise, epochs=1)
    try:
        npf.SmoothedClassifier(model, noise, num_classes=1)
    except npf.InvalidInputError as error:
        print(error.remedy, settings, summary, record.path, left, npf.__version__, sep="\n")
    return max(radii) + beaten + float(right.mean())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(main(Path(folder)))
