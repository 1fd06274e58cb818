using System.Text.Json;
using System.Text.Json.Serialization;
using Rlhf.Training.Checkpoints;

namespace Rlhf.Training.Loop;

/// <summary>The state of a training run after an optimizer step.</summary>
public sealed record TrainProgress
{
    private static readonly IReadOnlyDictionary<string, double> None = new Dictionary<string, double>();

    /// <summary>Optimizer steps so far; 1 is the first.</summary>
    public required long Step { get; init; }

    /// <summary>Optimizer steps of the whole run.</summary>
    public required long TotalSteps { get; init; }

    /// <summary>Passes over the data so far, as a fraction.</summary>
    public double Epoch { get; init; }

    /// <summary>Mean loss of the step's tokens, texts or pairs before the update, in nats where it is a negative logprob.</summary>
    public required double Loss { get; init; }

    /// <summary>Learning rate of the update.</summary>
    public required double LearningRate { get; init; }

    /// <summary>Norm of the gradient before clipping.</summary>
    public required double GradNorm { get; init; }

    /// <summary>Tokens trained on so far.</summary>
    public required long Tokens { get; init; }

    /// <summary>Further means over the step, by name, such as "accuracy".</summary>
    public IReadOnlyDictionary<string, double> Metrics { get; init; } = None;

    /// <summary>Time since the run began, evaluations included.</summary>
    public required TimeSpan Elapsed { get; init; }

    /// <summary>Time spent on steps since the run began, evaluations and whatever else is between steps left out.</summary>
    public TimeSpan TrainingTime { get; init; }

    /// <summary>Steps in a row, up to this one, whose update was left out because loss or gradient was not finite.</summary>
    public int BadStepsInARow { get; init; }

    /// <summary>
    /// The step was to end with an evaluation that a stop interrupted. A resumed run makes it up before its next step, and reports the
    /// step then.
    /// </summary>
    public bool EvaluationIsDue { get; init; }

    /// <summary>Result on held-out data where this step ended with an evaluation; else null.</summary>
    public TrainEvaluation? Evaluation { get; init; }

    /// <summary>Mean rate of <see cref="Tokens"/> over <see cref="TrainingTime"/>; 0 before the first step.</summary>
    [JsonIgnore]
    public double TokensPerSecond => TrainingTime > TimeSpan.Zero ? Tokens / TrainingTime.TotalSeconds : 0;

    /// <summary>What to say of the step if its update was left out; null elsewhere.</summary>
    [JsonIgnore]
    public TrainingWarning? Warning => BadStepsInARow > 0 ? BadSteps.Warning(Step, Loss, GradNorm) : null;

    /// <summary>All numbers of the step as metrics, under TRL's names: <c>train/…</c>, and after an evaluation <c>eval/…</c>.</summary>
    public IReadOnlyDictionary<string, double> Scalars()
    {
        var scalars = new Dictionary<string, double> { ["train/loss"] = Loss };
        foreach (var (name, value) in Metrics)
            scalars["train/" + name] = value;
        scalars["train/epoch"] = Epoch;
        scalars["train/learning_rate"] = LearningRate;
        scalars["train/grad_norm"] = GradNorm;
        scalars["train/num_tokens"] = Tokens;
        scalars["train/guard/skipped_steps"] = BadStepsInARow > 0 ? 1 : 0;
        scalars["train/tokens_per_second"] = TokensPerSecond;
        if (Evaluation is { } evaluation)
        {
            scalars["eval/loss"] = evaluation.Loss;
            foreach (var (name, value) in evaluation.Metrics)
                scalars["eval/" + name] = value;
        }
        return scalars;
    }

    /// <summary>Reads what a trainer saved; null for one that had taken no step.</summary>
    /// <exception cref="JsonException">It is not such a state, or holds numbers that no trainer saves.</exception>
    internal static TrainProgress? Read(JsonElement state)
    {
        var progress = CheckpointJson.ReadState<TrainProgress>(state, s => s.Step >= 0 && s.BadStepsInARow >= 0 && s.Tokens >= 0
            && CheckpointJson.IsSound(s.Elapsed) && CheckpointJson.IsSound(s.TrainingTime) && s.Evaluation is not { Examples: < 0 });
        // Checkpoints of 0.1 hold the held-out loss of sft, and the accuracies of reward, as numbers of their own.
        double? Number(JsonElement place, string name) =>
            place.TryGetProperty(name, out var number) ? number.Deserialize<double?>(CheckpointJson.Options) : null;
        if (progress is { Evaluation: null } && Number(state, "eval_loss") is { } loss)
            progress = progress with { Evaluation = new(0, loss) };
        if (progress is { Metrics.Count: 0 } && Number(state, "accuracy") is { } accuracy)
            progress = progress with { Metrics = new Dictionary<string, double> { ["accuracy"] = accuracy } };
        if (progress is { Evaluation.Metrics.Count: 0 } && state.TryGetProperty("evaluation", out var held)
            && held.ValueKind == JsonValueKind.Object && Number(held, "accuracy") is { } right)
            progress = progress with
            {
                Evaluation = progress.Evaluation with { Metrics = new Dictionary<string, double> { ["accuracy"] = right } },
            };
        return progress;
    }
}

/// <summary>How a model does on data that it was not trained on.</summary>
/// <param name="Examples">Sequences, texts or pairs.</param>
/// <param name="Loss">Mean loss of their tokens, texts or pairs: the training's own.</param>
public sealed record TrainEvaluation(int Examples, double Loss)
{
    private static readonly IReadOnlyDictionary<string, double> None = new Dictionary<string, double>();

    /// <summary>Further means, by name, such as "accuracy".</summary>
    public IReadOnlyDictionary<string, double> Metrics { get; init; } = None;

    /// <summary>e to the loss: the perplexity, where the loss is the mean negative logprob of tokens.</summary>
    [JsonIgnore]
    public double Perplexity => Math.Exp(Loss);
}
