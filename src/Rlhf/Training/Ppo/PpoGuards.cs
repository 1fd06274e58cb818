using Rlhf.Training.Loop;

namespace Rlhf.Training.Ppo;

/// <summary>Watches the steps of a PPO run for divergence; see <see cref="PolicyGuards"/>.</summary>
internal sealed class PpoGuards(PpoConfig config) : PolicyGuards(Prefix, config.Divergence, config.LearningRate)
{
    /// <summary>Prefix of the guards' metrics.</summary>
    public const string Prefix = "ppo/guard/";

    /// <summary>Default KlLimit: a multiple of the target; an absolute number of nats without one; at least this many nats per token.</summary>
    private const double KlLimitInTargets = 20, KlLimitWithoutTarget = 120, KlLimitPerToken = 1;

    protected override IReadOnlyList<string> OwnCounts { get; } = ["kl_limit", "negative_kl", "entropy_collapse", "equal_rewards"];

    protected override string AdviceOnBadNumbers =>
        $"Lower LearningRate ({config.LearningRate}), set MaxGradNorm, or scale the scores with UseScoreScaling and ScoreClip.";

    /// <summary>The step is over: if it was not bad, the bad steps are over, too.</summary>
    public void End(IReadOnlyList<MiniBatchStatistics> miniBatches)
    {
        if (miniBatches.Count > 0 && miniBatches.All(m => m.SkippedByRatioThreshold))
            CountAsBad(new("all_skipped", GuardAction.Skip,
                $"every minibatch's mean ratio is over RatioThreshold ({config.RatioThreshold})",
                "The rollout's logprobs are not those of the policy that is trained, or each update throws it far off.",
                $"Lower LearningRate ({config.LearningRate}); in a loop of your own, check the logprobs of the Rollout.",
                nameof(PpoConfig.LearningRate)));
        End();
    }

    /// <summary>The numbers that a step begins with: are they fit to be learnt from?</summary>
    /// <returns>False when the step's updates are to be left out.</returns>
    public bool CheckBeforeUpdates(StepRows rows, BeforeUpdates numbers, IReadOnlyList<float> scores)
    {
        var (logprobs, values, refLogprobs, kls) = numbers;
        CheckForwardPass(rows, logprobs, "logprobs", ofPolicy: true);
        CheckForwardPass(rows, values, "values", ofPolicy: true);
        CheckForwardPass(rows, refLogprobs, "logprobs", ofPolicy: false);
        double kl = 0, entropy = 0, tokens = 0;
        for (int i = 0; i < kls.Length; i++)
        {
            kl += (double)kls[i] * rows.Mask[i];
            entropy -= (double)logprobs[i] * rows.Mask[i];
            tokens += rows.Mask[i];
        }
        int[] kept = rows.Kept;
        (kl, entropy) = (kl / kept.Length, entropy / tokens);
        return Act([Kl(kl, tokens / kept.Length), Entropy(entropy), EqualRewards([.. kept.Select(b => scores[b])])],
            config.PpoEpochs * (config.BatchSize / config.MiniBatchSize));
    }

    private Finding? Kl(double kl, double tokensPerResponse)
    {
        double limit = Limits.KlLimit ?? Math.Max(
            config.AdaptiveKlControl ? KlLimitInTargets * config.Target : KlLimitWithoutTarget, KlLimitPerToken * tokensPerResponse);
        const string NotItsOwn = "The responses were not drawn from the policy's own distribution.";
        const string DrawItsOwn = "Sample with temperature 1, no top-k, top-p or minimum length, or choose another KlPenalty.";
        if (kl > limit)
            return new("kl_limit", Limits.KlAction, $"objective/kl is {kl:F1}, over KlLimit ({limit:0.#})",
                "The policy has run away from the reference.",
                $"Lower LearningRate ({config.LearningRate}) or PpoEpochs ({config.PpoEpochs}), set MaxGradNorm or EarlyStopping, or raise "
                + $"InitKlCoef ({config.InitKlCoef}).", nameof(PpoConfig.LearningRate));
        if (kl < -limit)
            return new("kl_limit", Limits.KlAction == GuardAction.Tolerate ? GuardAction.Skip : Limits.KlAction,
                $"objective/kl is {kl:F1}, below -KlLimit ({-limit:0.#})", NotItsOwn, DrawItsOwn, nameof(PpoConfig.KlPenalty));
        return kl < -Limits.NegativeKlLimit
            ? new("negative_kl", Limits.NegativeKlAction, $"objective/kl is {kl:F2}", NotItsOwn, DrawItsOwn, nameof(PpoConfig.KlPenalty))
            : null;
    }

    private Finding? Entropy(double entropy) => entropy < Limits.EntropyFloor
        ? new("entropy_collapse", Limits.EntropyAction,
            $"the responses have {entropy:F3} nats of entropy per token, below EntropyFloor ({Limits.EntropyFloor})",
            "The policy writes nearly the same text each time; it has found what the reward pays for, and explores no more.",
            $"Raise InitKlCoef ({config.InitKlCoef}), lower LearningRate ({config.LearningRate}) or take fewer steps.",
            nameof(PpoConfig.InitKlCoef))
        : null;

    private Finding? EqualRewards(float[] scores) => scores.Length < 2 || !AreEqual(scores) ? null
        : new("equal_rewards", Limits.EqualRewardsAction, $"all {scores.Length} rewards are {scores[0]}",
            "There is nothing to learn from but the KL penalty: the reward reads what is always the same, or has reached its limit.",
            "Look at the samples, take logits for probabilities, or give more reward for less; EqualRewardsAction decides what "
            + "happens then.", nameof(DivergenceConfig.EqualRewardsAction));
}
