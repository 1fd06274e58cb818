using Rlhf.Models;
using Rlhf.Training.Loop;
using static TorchSharp.torch;

namespace Rlhf.Training.Groups;

/// <summary>What one minibatch of a pass came to.</summary>
public sealed record GroupMiniBatch
{
    /// <summary>Its part of the loss: the parts of an update add up to its loss.</summary>
    public required double Loss { get; init; }

    /// <summary>Numbers under TRL's names: entropy, kl, clip_ratio/low_mean, ….</summary>
    public required IReadOnlyDictionary<string, double> Metrics { get; init; }

    /// <summary>Norm of the update's gradient before clipping; null where no optimizer step followed.</summary>
    public double? GradNorm { get; init; }

    /// <summary>What of it is NaN or infinite, loss or logits; such a minibatch is not applied. Null: nothing.</summary>
    internal string? NonFinite { get; init; }

    internal static GroupMiniBatch Of(MiniBatchLoss part, HeadScores scores)
    {
        using var noGrad = no_grad();
        // One transfer from the device.
        string[] names = [.. part.Metrics.Keys];
        var numbers = stack([part.Loss, scores.Logprobs.sum(), .. names.Select(n => part.Metrics[n])]).to(float64).cpu().data<double>().ToArray();
        return new()
        {
            Loss = numbers[0],
            Metrics = names.Index().ToDictionary(n => n.Item, n => numbers[n.Index + 2]),
            NonFinite = double.IsFinite(numbers[0]) ? null : double.IsFinite(numbers[1]) ? "loss" : "logits",
        };
    }
}

/// <summary>What a step of a <see cref="GroupTrainer"/> measured. B is the number of its answers.</summary>
public sealed record GroupStatistics : PolicyStatistics
{
    /// <summary>Each answer's advantage [B].</summary>
    public required float[] Advantages { get; init; }

    /// <summary>Tokens of each prompt [B].</summary>
    public required float[] QueryLengths { get; init; }

    /// <summary>Tokens of each answer [B].</summary>
    public required float[] ResponseLengths { get; init; }

    /// <summary>Logprob of each answer under the policy that sampled it, summed over its counted tokens [B].</summary>
    public required float[] Logprobs { get; init; }

    /// <summary>objective/kl of each answer: summed over its counted tokens, nats [B]; null without a reference.</summary>
    public required float[]? Kls { get; init; }

    /// <summary>frac_reward_zero_std: share of the groups whose rewards are all the same, so that nothing is learned from them.</summary>
    public required double GroupsWithoutSignal { get; init; }

    /// <summary>Every minibatch of every pass, in order; those that were not finite are not among them.</summary>
    public required IReadOnlyList<GroupMiniBatch> MiniBatches { get; init; }

    /// <summary>Learning rate of the step.</summary>
    public required double LearningRate { get; init; }

    /// <summary>Numbers about rewards, answers and time, under TRL's names where it has them.</summary>
    public required IReadOnlyDictionary<string, double> Numbers { get; init; }

    /// <summary>Single numbers under TRL's names; those of minibatches are absent where a guard left all of the step's updates out.</summary>
    public override IReadOnlyDictionary<string, double> Scalars()
    {
        var scalars = new Dictionary<string, double>(Numbers)
        {
            ["reward"] = RewardMean,
            ["frac_reward_zero_std"] = GroupsWithoutSignal,
            ["learning_rate"] = LearningRate,
        };
        if (Kls is not null)
            scalars["objective/kl"] = Kls.Average(k => (double)k);
        if (MiniBatches.Count == 0)
            return scalars;
        int updates = Math.Max(1, MiniBatches.Count(m => m.GradNorm is not null));
        scalars["loss"] = MiniBatches.Sum(m => m.Loss) / updates;
        scalars["grad_norm"] = MiniBatches.Average(m => m.GradNorm) ?? 0;
        foreach (string name in MiniBatches[0].Metrics.Keys)
            scalars[name] = name.EndsWith("_min", StringComparison.Ordinal) ? MiniBatches.Min(m => m.Metrics[name])
                : name.EndsWith("_max", StringComparison.Ordinal) ? MiniBatches.Max(m => m.Metrics[name])
                : MiniBatches.Average(m => m.Metrics[name]);
        return scalars;
    }

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, float[]> Distributions() => new Dictionary<string, float[]>
    {
        ["rewards"] = Scores,
        ["advantages"] = Advantages,
        ["completions/lengths"] = ResponseLengths,
    };
}
