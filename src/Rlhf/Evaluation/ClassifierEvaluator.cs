using Rlhf.Data;
using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using static TorchSharp.torch;

namespace Rlhf.Evaluation;

/// <summary>How a classifier does on labeled texts.</summary>
/// <param name="Examples">Texts.</param>
/// <param name="Loss">Mean cross entropy in nats.</param>
/// <param name="Confusion">True against predicted labels; accuracy, precision, recall and F1 come from it.</param>
/// <param name="Calibration">Whether its probabilities can be believed.</param>
public sealed record ClassifierEvaluation(int Examples, double Loss, ConfusionMatrix Confusion, Calibration Calibration)
{
    /// <summary>Share of texts classified right.</summary>
    public double Accuracy => Confusion.Accuracy;
}

/// <summary>Measures a classifier on labeled texts.</summary>
/// <param name="model">The classifier, with one logit per label; it stays the caller's.</param>
/// <param name="tokenizer">The tokenizer of its folder.</param>
public sealed class ClassifierEvaluator(SequenceClassifier model, ITokenizer tokenizer)
{
    /// <summary>Texts computed together.</summary>
    public int BatchSize { get; init; } = 32;

    /// <summary>
    /// Show the classifier only a random stretch of this many tokens of each text: how well it reads snippets, which is what a
    /// reward model sees. Null shows whole texts, cut at the model's limit.
    /// </summary>
    public int? CropTokens { get; init; }

    /// <summary>Seed of the stretches.</summary>
    public long Seed { get; init; }

    /// <summary>Classifies every text.</summary>
    /// <param name="reviews">Texts with labels.</param>
    /// <param name="progress">Called with the number of texts done.</param>
    /// <param name="cancellation">Stops between two batches.</param>
    /// <exception cref="ArgumentException">There is no text, a label is missing or not one of the model's, or the model has one
    /// label only.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public ClassifierEvaluation Evaluate(
        IReadOnlyList<Review> reviews, Action<int>? progress = null, CancellationToken cancellation = default)
    {
        var actual = CheckLabels(reviews);
        var random = new RandomStream(Seed, "evaluation/crop");
        var rows = reviews.AsParallel().AsOrdered().Select((review, i) => Row(review.Text, random.Fork(i))).ToArray();
        var predicted = new int[rows.Length];
        var confidences = new double[rows.Length];
        double loss = 0;
        int done = 0;
        using var noGrad = no_grad();
        foreach (var batch in Enumerable.Range(0, rows.Length).OrderBy(i => rows[i].Length).Chunk(BatchSize))
        {
            cancellation.ThrowIfCancellationRequested();
            var logprobs = LogProbabilities([.. batch.Select(i => rows[i])]);
            for (int b = 0; b < batch.Length; b++)
            {
                int best = Enumerable.Range(0, model.Labels.Count).MaxBy(label => logprobs[b, label]);
                predicted[batch[b]] = best;
                confidences[batch[b]] = Math.Min(1, Math.Exp(logprobs[b, best]));
                loss -= logprobs[b, actual[batch[b]]];
            }
            progress?.Invoke(done += batch.Length);
        }
        var correct = actual.Zip(predicted, (a, p) => a == p).ToArray();
        return new(rows.Length, loss / rows.Length, ConfusionMatrix.Of(model.Labels, actual, predicted),
            Calibration.Of(confidences, correct));
    }

    /// <summary>Log-softmax of the logits [B, labels].</summary>
    private float[,] LogProbabilities(int[][] rows)
    {
        using var scope = NewDisposeScope();
        using var batch = PackedBatch.FromRows(rows, model.Device);
        var flat = nn.functional.log_softmax(model.Forward(batch), 1).cpu().data<float>().ToArray();
        var table = new float[rows.Length, model.Labels.Count];
        Buffer.BlockCopy(flat, 0, table, 0, flat.Length * sizeof(float));
        return table;
    }

    private int[] Row(string text, RandomStream random)
    {
        if (CropTokens is not { } crop)
            return tokenizer.EncodeTruncated(text, model.MaxPositions);
        IReadOnlyList<int> prefix = tokenizer.Template.Before, suffix = tokenizer.Template.After;
        var ids = tokenizer.Encode(text, addSpecialTokens: false);
        int length = Math.Min(Math.Min(crop, ids.Length), model.MaxPositions - prefix.Count - suffix.Count);
        int start = random.NextInt32(0, ids.Length - length + 1);
        return [.. prefix, .. ids.AsSpan(start, length), .. suffix];
    }

    private int[] CheckLabels(IReadOnlyList<Review> reviews)
    {
        if (reviews.Count == 0)
            throw new ArgumentException("There is nothing to evaluate on: the data is empty.");
        if (model.Labels.Count < 2)
            throw new ArgumentException("The model has a single label: it scores texts and cannot classify them.");
        if (CropTokens < 1)
            throw new ArgumentException($"CropTokens is {CropTokens}; it must be at least 1, or left out.");
        return [.. reviews.Select((review, i) => review.Label is { } label && (uint)label < model.Labels.Count ? label
            : throw new ArgumentException($"Review {i} has {(review.Label is null ? "no label" : $"label {review.Label}")}; " +
                $"this model's labels are 0 to {model.Labels.Count - 1} ({string.Join(", ", model.Labels)})."))];
    }
}
