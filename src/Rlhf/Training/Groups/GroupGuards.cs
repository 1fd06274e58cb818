using Rlhf.Training.Loop;

namespace Rlhf.Training.Groups;

/// <summary>Watches the steps of an algorithm over groups for divergence; see <see cref="PolicyGuards"/>.</summary>
internal sealed class GroupGuards(GroupConfig config) : PolicyGuards("guard/", config.Divergence, config.LearningRate)
{
    /// <summary>Default KlLimit in nats per answer; at least this many nats per token.</summary>
    private const double DefaultKlLimit = 120, KlLimitPerToken = 1;

    protected override IReadOnlyList<string> OwnCounts { get; } = ["kl_limit", "entropy_collapse", "equal_rewards"];

    protected override string AdviceOnBadNumbers => $"Lower LearningRate ({config.LearningRate}), or set MaxGradNorm.";

    /// <summary>The numbers that a step begins with: are they fit to be learnt from?</summary>
    /// <returns>False when the step's updates are to be left out.</returns>
    public bool CheckBeforeUpdates(StepRows rows, AnswerLogprobs numbers, IReadOnlyList<float> scores)
    {
        CheckForwardPass(rows, numbers.Logprobs, "logprobs", ofPolicy: true);
        CheckForwardPass(rows, numbers.RefLogprobs ?? [], "logprobs", ofPolicy: false);
        double kl = 0, entropy = 0, tokens = 0;
        for (int i = 0; i < rows.TokenCount; i++)
        {
            kl += numbers.Kls.Length > 0 ? (double)numbers.Kls[i] * rows.Mask[i] : 0;
            entropy -= (double)numbers.Logprobs[i] * rows.Mask[i];
            tokens += rows.Mask[i];
        }
        int answers = Math.Max(1, rows.Kept.Length);
        return Act([Kl(kl / answers, tokens / answers), tokens > 0 ? Entropy(entropy / tokens) : null, EqualRewards(scores)],
            config.NumIterations * ((config.BatchSize + config.MiniBatchSize - 1) / config.MiniBatchSize));
    }

    /// <inheritdoc/>
    /// <remarks>The mean of the answer's own group, so that it changes no other's advantage.</remarks>
    protected override IReadOnlyList<float> WithoutNonFinite(IReadOnlyList<float> scores) =>
    [
        .. scores.Chunk(config.NumGenerations).SelectMany(group =>
        {
            float[] finite = [.. group.Where(float.IsFinite)];
            float mean = finite.Length > 0 ? (float)finite.Average(s => (double)s) : 0;
            return group.Select(s => float.IsFinite(s) ? s : mean);
        }),
    ];

    private Finding? Kl(double kl, double tokensPerAnswer)
    {
        double limit = Limits.KlLimit ?? Math.Max(DefaultKlLimit, KlLimitPerToken * tokensPerAnswer);
        return Math.Abs(kl) <= limit ? null
            : new("kl_limit", kl < 0 && Limits.KlAction == GuardAction.Tolerate ? GuardAction.Skip : Limits.KlAction,
                $"objective/kl is {kl:F1}, beyond KlLimit ({limit:0.#})", "The policy has run away from the reference.",
                $"Lower LearningRate ({config.LearningRate}) or NumIterations ({config.NumIterations}), or raise Beta ({config.Beta}).",
                nameof(GroupConfig.LearningRate));
    }

    private Finding? Entropy(double entropy) => entropy < Limits.EntropyFloor
        ? new("entropy_collapse", Limits.EntropyAction,
            $"the answers have {entropy:F3} nats of entropy per token, below EntropyFloor ({Limits.EntropyFloor})",
            "The policy writes nearly the same answer each time, so that a group has nothing to compare.",
            $"Raise EpsilonHigh or Beta ({config.Beta}), lower LearningRate ({config.LearningRate}), or take fewer steps: it may have learned what there is to learn.",
            nameof(GroupConfig.Beta))
        : null;

    private Finding? EqualRewards(IReadOnlyList<float> scores) => scores.Chunk(config.NumGenerations).All(g => AreEqual(g))
        ? new("equal_rewards", Limits.EqualRewardsAction, "within every group all rewards are the same",
            "There is nothing to learn from: the task is too hard or too easy for the policy, or the reward cannot tell answers apart.",
            "Look at the samples, mix in easier or harder prompts, give part of the reward for part of the task, raise NumGenerations, or set "
            + "ResampleRounds to draw other prompts; EqualRewardsAction decides what happens then.", nameof(DivergenceConfig.EqualRewardsAction))
        : null;
}
