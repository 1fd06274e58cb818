using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Data;
using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using Rlhf.Training.Checkpoints;
using Rlhf.Training.Loop;

namespace Rlhf.Training.RewardModeling;

/// <summary>
/// Stage 2 of RLHF: teaches a sequence classifier what people prefer, from labeled texts (cross entropy) or from pairs of which one text
/// was chosen (Bradley and Terry), in the loop of <see cref="EpochTrainer{TExample}"/>.
/// </summary>
/// <remarks>The model belongs to the caller; it is in evaluation mode between steps.</remarks>
public sealed class RewardTrainer : IResumable, IDisposable
{
    private readonly SequenceClassifier model;
    private readonly RewardConfig config;
    private readonly RewardExamples examples;
    private readonly EpochTrainer<RewardExample> loop;

    /// <summary>A trainer for a model with the tokenizer of its folder.</summary>
    /// <exception cref="ConfigurationException">A setting cannot be used, alone or with this model.</exception>
    public RewardTrainer(SequenceClassifier model, ITokenizer tokenizer, RewardConfig config)
    {
        List<string> problems = [.. config.Validate()];
        if (config.MaxLength > model.MaxPositions)
            problems.Add($"MaxLength is {config.MaxLength}; this model reads at most {model.MaxPositions} tokens.");
        ConfigurationException.ThrowIfAny(problems);
        (this.model, this.config) = (model, config);
        examples = new RewardExamples(tokenizer, config.LengthFor(model.MaxPositions));
        loop = new(new RewardObjective(model, examples, config), config);
    }

    /// <summary>Where tests look on.</summary>
    internal TrainingHooks Hooks
    {
        get => loop.Hooks;
        set => loop.Hooks = value;
    }

    /// <summary>Learns labels. The model needs one logit per label.</summary>
    /// <param name="reviews">Texts with labels.</param>
    /// <param name="heldOut">Labeled texts for evaluation; null or empty evaluates nothing.</param>
    /// <param name="progress">Called after each optimizer step, once its evaluation is done.</param>
    /// <param name="cancellation">Stops between steps and within an evaluation; the model then holds the weights of the last step.</param>
    /// <returns>The state after the last step.</returns>
    /// <exception cref="ArgumentException">There is no text, a text has no label, or a label is not one of the
    /// model's.</exception>
    /// <exception cref="ConfigurationException">A setting applies to pairs only.</exception>
    /// <exception cref="TrainingDivergedException">Loss or gradient was not finite in more than
    /// <see cref="TrainerConfig.MaxBadSteps"/> steps in a row; the model keeps the weights from before them.</exception>
    public TrainProgress Train(
        IReadOnlyList<Review> reviews, IReadOnlyList<Review>? heldOut = null, Action<TrainProgress>? progress = null,
        CancellationToken cancellation = default)
    {
        if (config.CenterRewardsCoefficient is not null)
            throw new ConfigurationException(
                ["CenterRewardsCoefficient applies to preference pairs; leave it out for labeled texts."]);
        return loop.Train(Encode(reviews), Encode(heldOut ?? []), progress, cancellation);
    }

    /// <summary>
    /// The pairs that something can be learned from: those whose two texts, cut to <see cref="TrainerConfig.MaxLength"/>, still differ.
    /// </summary>
    /// <param name="pairs">Prompts with a chosen and a rejected response.</param>
    public IReadOnlyList<PreferencePair> Distinguishable(IReadOnlyList<PreferencePair> pairs) =>
        [.. pairs.Zip(Encode(pairs)).Where(p => p.Second.IsDistinguishable).Select(p => p.First)];

    /// <summary>
    /// Learns preferences. The model needs a single label, whose logit is the reward of prompt and response. A prompt and response that
    /// are too long lose the beginning of the prompt first, then the end of the response; pairs that are not <see cref="Distinguishable"/> are
    /// left out of training (in an evaluation they count as wrong).
    /// </summary>
    /// <param name="pairs">Prompts with a chosen and a rejected response.</param>
    /// <param name="heldOut">Pairs for evaluation; null or empty evaluates nothing.</param>
    /// <param name="progress">Called after each optimizer step, once its evaluation is done.</param>
    /// <param name="cancellation">Stops between steps and within an evaluation; the model then holds the weights of the last step.</param>
    /// <returns>The state after the last step.</returns>
    /// <exception cref="ArgumentException">There is no pair, none is <see cref="Distinguishable"/>, or the model has more than one
    /// label.</exception>
    /// <exception cref="ConfigurationException">A setting applies to labeled texts only.</exception>
    /// <exception cref="TrainingDivergedException">Loss or gradient was not finite in more than
    /// <see cref="TrainerConfig.MaxBadSteps"/> steps in a row; the model keeps the weights from before them.</exception>
    public TrainProgress Train(
        IReadOnlyList<PreferencePair> pairs, IReadOnlyList<PreferencePair>? heldOut = null,
        Action<TrainProgress>? progress = null, CancellationToken cancellation = default)
    {
        if (config.RandomCropProbability > 0)
            throw new ConfigurationException(
                ["RandomCropProbability applies to labeled texts; a cut response is not the one that was preferred."]);
        return loop.Train(EncodeDistinguishable(pairs), Encode(heldOut ?? []), progress, cancellation);
    }

    /// <summary>One optimizer step on labeled texts of one's own choice.</summary>
    /// <param name="reviews">The texts of the step.</param>
    /// <param name="totalSteps">Steps of the run, for the learning rate's schedule.</param>
    public TrainProgress Step(IReadOnlyList<Review> reviews, long totalSteps) => loop.Step(Encode(reviews), totalSteps);

    /// <summary>One optimizer step on pairs of one's own choice; those that are not <see cref="Distinguishable"/> are left out.</summary>
    /// <param name="pairs">The pairs of the step.</param>
    /// <param name="totalSteps">Steps of the run, for the learning rate's schedule.</param>
    public TrainProgress Step(IReadOnlyList<PreferencePair> pairs, long totalSteps) => loop.Step(EncodeDistinguishable(pairs), totalSteps);

    /// <summary>Loss and accuracy on labeled texts.</summary>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public TrainEvaluation Evaluate(IReadOnlyList<Review> reviews, CancellationToken cancellation = default) =>
        loop.Evaluate(Encode(reviews), cancellation);

    /// <summary>Loss and accuracy on pairs.</summary>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public TrainEvaluation Evaluate(IReadOnlyList<PreferencePair> pairs, CancellationToken cancellation = default) =>
        loop.Evaluate(Encode(pairs), cancellation);

    /// <inheritdoc/>
    public long StepCount => loop.StepCount;

    /// <inheritdoc/>
    public long ReportedSteps => loop.ReportedSteps;

    /// <inheritdoc/>
    public IReadOnlyList<StateFile> Files => loop.Files;

    /// <inheritdoc/>
    public bool IsUsable() => loop.IsUsable();

    /// <summary>The last step's progress.</summary>
    public JsonNode CaptureState() => loop.CaptureState();

    /// <inheritdoc/>
    public void RestoreState(JsonElement state) => loop.RestoreState(state);

    /// <inheritdoc/>
    public void Dispose() => loop.Dispose();

    private RewardExample[] Encode(IReadOnlyList<Review> reviews)
    {
        if (model.Labels.Count < 2)
            throw new ArgumentException("The model has a single label; classification needs one logit per label, at least two.");
        for (int i = 0; i < reviews.Count; i++)
            if (reviews[i].Label is var label && (label is null || (uint)label >= model.Labels.Count))
                throw new ArgumentException($"Review {i} has {(label is null ? "no label" : $"label {label}")}; this model's " +
                    $"labels are 0 to {model.Labels.Count - 1}. Leave the review out, or start from a model with more labels.");
        return examples.Encode(reviews);
    }

    private RewardExample[] Encode(IReadOnlyList<PreferencePair> pairs) => model.Labels.Count == 1 ? examples.Encode(pairs)
        : throw new ArgumentException($"The model has {model.Labels.Count} labels; pairs need a reward model with a single one.");

    private RewardExample[] EncodeDistinguishable(IReadOnlyList<PreferencePair> pairs)
    {
        RewardExample[] distinguishable = [.. Encode(pairs).Where(e => e.IsDistinguishable)];
        return distinguishable.Length > 0 || pairs.Count == 0 ? distinguishable
            : throw new ArgumentException($"There is nothing to learn: in each of the {pairs.Count} pairs, both texts are the same in the "
                + $"{examples.MaxLength} tokens that are read of them. Raise MaxLength, or shorten what they have in common.");
    }
}
