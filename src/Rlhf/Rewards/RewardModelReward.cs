using Rlhf.Models;
using Rlhf.Tokenizers;

namespace Rlhf.Rewards;

/// <summary>
/// The score of a reward model, a sequence classifier with one label, for query and response together. Where they are longer than the
/// model reads, the beginning of the query goes first, as in training (<see cref="CompletionTokens"/>).
/// </summary>
public sealed class RewardModelReward : IRewardFunction
{
    private readonly TextClassificationPipeline pipeline;

    /// <summary>A reward from a model with a scalar head.</summary>
    /// <param name="model">The model; disposed with this object.</param>
    /// <param name="tokenizer">The tokenizer that belongs to it.</param>
    /// <exception cref="ArgumentException">The model has more than one label.</exception>
    public RewardModelReward(SequenceClassifier model, ITokenizer tokenizer)
    {
        if (model.Labels.Count != 1)
            throw new ArgumentException(
                $"A reward model has one score, but this one has {model.Labels.Count} labels ({string.Join(", ", model.Labels)}). " +
                $"Use {nameof(ClassifierReward)} and choose one of them.");
        pipeline = new TextClassificationPipeline(model, tokenizer);
    }

    /// <summary>Name used in metrics and reports.</summary>
    public string Name { get; init; } = "reward_model";

    /// <summary>Texts that are computed together.</summary>
    public int BatchSize { get; init; } = 16;

    /// <inheritdoc/>
    /// <exception cref="RewardException">A score is not finite; the message shows the sample.</exception>
    public ValueTask<IReadOnlyList<float>> ScoreAsync(IReadOnlyList<Completion> completions, CancellationToken cancellation = default)
    {
        var logits = pipeline.Logits(completions, BatchSize, cancellation);
        return new(RewardChecks.Check(Name, completions, [.. logits.Select(row => row[0])]));
    }

    /// <inheritdoc/>
    public void Dispose() => pipeline.Dispose();
}
