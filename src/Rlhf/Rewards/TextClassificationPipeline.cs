using Rlhf.Models;
using Rlhf.Tokenizers;
using static TorchSharp.torch;

namespace Rlhf.Rewards;

/// <summary>What a pipeline makes of logits.</summary>
public enum FunctionToApply
{
    /// <summary>
    /// By the model's problem type: sigmoid for one label or multi-label models, none for regression, else softmax.
    /// </summary>
    Default,

    /// <summary>The raw logits.</summary>
    None,

    /// <summary>Probabilities that sum to 1 over the labels.</summary>
    Softmax,

    /// <summary>A probability for each label by itself.</summary>
    Sigmoid,
}

/// <summary>A label and how much the model gives for it.</summary>
public readonly record struct LabelScore(string Label, float Score);

/// <summary>
/// Texts to labels with scores, as transformers' text-classification ("sentiment-analysis") pipeline:
/// tokenizer and classifier together.
/// </summary>
/// <param name="model">The classifier.</param>
/// <param name="tokenizer">The tokenizer that belongs to it.</param>
public sealed class TextClassificationPipeline(SequenceClassifier model, ITokenizer tokenizer) : IDisposable
{
    /// <summary>The classifier.</summary>
    public SequenceClassifier Model { get; } = model;

    /// <summary>The tokenizer.</summary>
    public ITokenizer Tokenizer { get; } = tokenizer;

    /// <summary>Tokens that the model reads of a text, special tokens included; what lies beyond is cut off.</summary>
    public int MaxLength { get; } = Math.Min(model.MaxPositions, tokenizer.ModelMaxLength);

    /// <summary>Loads model and tokenizer of a folder.</summary>
    /// <param name="folder">The model folder.</param>
    /// <param name="device">Where the model computes; null is the CPU.</param>
    /// <exception cref="FileNotFoundException">A file is absent.</exception>
    /// <exception cref="InvalidDataException">A file is malformed, or files do not belong together.</exception>
    public static TextClassificationPipeline FromPretrained(string folder, Device? device = null)
    {
        var tokenizer = AutoTokenizer.FromPretrained(folder);
        TokenizerOf.RequireFit(folder, tokenizer, ModelShape.Of(folder).VocabSize);
        return new TextClassificationPipeline(AutoModelForSequenceClassification.FromPretrained(folder, device), tokenizer);
    }

    /// <summary>Labels and scores of each text, highest score first.</summary>
    /// <param name="texts">The texts, in any number.</param>
    /// <param name="topK">Labels to return of each text; null returns all.</param>
    /// <param name="functionToApply">What to make of the logits; the lesson's reward is the raw logit,
    /// <see cref="FunctionToApply.None"/>.</param>
    /// <param name="batchSize">Texts that are computed together.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="topK"/> or
    /// <paramref name="batchSize"/> is below 1.</exception>
    public IReadOnlyList<IReadOnlyList<LabelScore>> Classify(
        IReadOnlyList<string> texts, int? topK = null, FunctionToApply functionToApply = FunctionToApply.Default,
        int batchSize = 16)
    {
        if (topK is { } k)
            ArgumentOutOfRangeException.ThrowIfLessThan(k, 1, nameof(topK));
        return [.. Logits(texts, batchSize).Select(logits => (IReadOnlyList<LabelScore>)
            [.. Apply(functionToApply, logits)
                .Select((score, label) => new LabelScore(Model.Labels[label], score))
                .OrderByDescending(label => label.Score)
                .Take(topK ?? int.MaxValue)])];
    }

    /// <summary>Whether scores of <see cref="FunctionToApply.Default"/> are probabilities; those of a regression model are not.</summary>
    public bool GivesProbabilities => Model.ProblemType != ProblemTypes.Regression;

    /// <summary>Raw logits of each text, by label index.</summary>
    /// <param name="texts">The texts, in any number.</param>
    /// <param name="batchSize">Texts that are computed together.</param>
    /// <param name="cancellation">Stops between two batches.</param>
    /// <exception cref="ArgumentException">A text has no tokens, or <paramref name="batchSize"/> is below 1.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public IReadOnlyList<float[]> Logits(IReadOnlyList<string> texts, int batchSize = 16, CancellationToken cancellation = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(batchSize, 1);
        return Logits([.. texts.Select((text, i) => NotEmpty(Tokenizer.EncodeTruncated(text, MaxLength), i))], batchSize, cancellation);
    }

    /// <summary>The same of queries with their responses: those that are too long lose the beginning of the query first.</summary>
    /// <param name="completions">Queries and responses, in any number.</param>
    /// <param name="batchSize">Texts that are computed together.</param>
    /// <param name="cancellation">Stops between two batches.</param>
    /// <exception cref="ArgumentException">A text has no tokens, or <paramref name="batchSize"/> is below 1.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public IReadOnlyList<float[]> Logits(
        IReadOnlyList<Completion> completions, int batchSize = 16, CancellationToken cancellation = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(batchSize, 1);
        return Logits(
            [.. completions.Select((c, i) => NotEmpty(Tokenizer.EncodeCompletion(c.Query, c.Response, MaxLength), i))], batchSize, cancellation);
    }

    /// <summary>Disposes the model.</summary>
    public void Dispose() => Model.Dispose();

    private static int[] NotEmpty(int[] ids, int index) => ids.Length > 0 ? ids
        : throw new ArgumentException($"Text {index} has no tokens; a text to classify must not be empty.");

    private float[][] Logits(int[][] rows, int batchSize, CancellationToken cancellation)
    {
        var logits = new float[rows.Length][];
        using var mode = Model.InMode(training: false);
        using var inference = inference_mode();
        // Rows of like length together: attention then pads little. The longest come first, so that memory is short at once or never.
        foreach (var indices in Enumerable.Range(0, rows.Length).OrderByDescending(i => rows[i].Length).Chunk(batchSize))
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            using var batch = PackedBatch.FromRows([.. indices.Select(i => rows[i])], Model.Device);
            var values = Model.Forward(batch).to(float32).cpu().data<float>().ToArray();
            for (int b = 0; b < indices.Length; b++)
                logits[indices[b]] = values[(b * Model.Labels.Count)..((b + 1) * Model.Labels.Count)];
        }
        return logits;
    }

    private IEnumerable<float> Apply(FunctionToApply function, float[] logits) => function switch
    {
        FunctionToApply.None => logits,
        FunctionToApply.Softmax => Softmax(logits),
        FunctionToApply.Sigmoid => logits.Select(x => (float)(1 / (1 + Math.Exp(-x)))),
        FunctionToApply.Default => Apply(Model.ProblemType switch
        {
            ProblemTypes.Regression => FunctionToApply.None,
            ProblemTypes.MultiLabel => FunctionToApply.Sigmoid,
            _ => logits.Length == 1 ? FunctionToApply.Sigmoid : FunctionToApply.Softmax,
        }, logits),
        _ => throw new ArgumentOutOfRangeException(nameof(function), function, null),
    };

    private static IEnumerable<float> Softmax(float[] logits)
    {
        double largest = logits.Max(), sum = logits.Sum(x => Math.Exp(x - largest));
        return logits.Select(x => (float)(Math.Exp(x - largest) / sum));
    }
}
