using Rlhf.Training.Loop;

namespace Rlhf.Training.Ppo;

/// <summary>
/// Watches the steps of a PPO run for divergence: finds it, names the likely cause and the setting to change, counts it, and does what
/// <see cref="DivergenceConfig"/> says.
/// </summary>
internal sealed class PpoGuards
{
    /// <summary>Prefix of the guards' metrics.</summary>
    public const string Prefix = "ppo/guard/";

    /// <summary>Relative difference from which rewards count as different: rounding of float32.</summary>
    private const float EqualityTolerance = 1e-6f;

    /// <summary>Default KlLimit: a multiple of the target; an absolute number of nats without one; at least this many nats per token.</summary>
    private const double KlLimitInTargets = 20, KlLimitWithoutTarget = 120, KlLimitPerToken = 1;

    private readonly PpoConfig config;
    private readonly BadSteps badSteps;
    private readonly List<TrainingWarning> warnings = [];
    private readonly Dictionary<string, double> counts = [];
    private long step;
    private bool isBad;
    private Finding? last;

    public PpoGuards(PpoConfig config) => (this.config, badSteps) = (config, new BadSteps(config.Divergence.MaxBadSteps));

    /// <summary>Steps in a row with something left out or tolerated; belongs to a checkpoint.</summary>
    public int BadStepsInARow
    {
        get => badSteps.InARow;
        set => badSteps.InARow = value;
    }

    /// <summary>What was found in this step.</summary>
    public IReadOnlyList<TrainingWarning> Warnings => [.. warnings];

    /// <summary>What was found in this step, as metrics.</summary>
    public IReadOnlyDictionary<string, double> Counts => new Dictionary<string, double>(counts)
    {
        [Prefix + "bad_steps_in_a_row"] = badSteps.InARow,
    };

    private DivergenceConfig Limits => config.Divergence;

    /// <summary>A new step; the first is 1.</summary>
    public void Begin(long number)
    {
        (step, isBad) = (number, false);
        warnings.Clear();
        foreach (var name in (string[])["skipped_minibatches", "nonfinite_loss", "nonfinite_gradient", "nonfinite_logits",
            "nonfinite_rewards", "kl_limit", "negative_kl", "entropy_collapse", "equal_rewards"])
            counts[Prefix + name] = 0;
    }

    /// <summary>The step is over: if it was not bad, the bad steps are over, too.</summary>
    public void End(IReadOnlyList<MiniBatchStatistics> miniBatches)
    {
        if (miniBatches.Count > 0 && miniBatches.All(m => m.SkippedByRatioThreshold))
            CountAsBad(new("all_skipped", GuardAction.Skip,
                $"every minibatch's mean ratio is over RatioThreshold ({config.RatioThreshold})",
                "The rollout's logprobs are not those of the policy that is trained, or each update throws it far off.",
                $"Lower LearningRate ({config.LearningRate}); in a loop of your own, check the logprobs of the Rollout.",
                nameof(PpoConfig.LearningRate)));
        if (!isBad)
            badSteps.InARow = 0;
    }

    /// <summary>The run's last step is over.</summary>
    /// <exception cref="TrainingDivergedException">Its last steps were bad, so that its weights are, too.</exception>
    public void EndRun(long totalSteps)
    {
        if (!badSteps.CanFinish(totalSteps) && last is not null)
            throw Diverged(last);
    }

    /// <summary>
    /// Finite scores: with <see cref="GuardAction.Skip"/>, a sample without one is masked and takes the mean of the others.
    /// </summary>
    public IReadOnlyList<float> CheckScores(StepRows rows, IReadOnlyList<float> scores)
    {
        int[] bad = [.. Enumerable.Range(0, scores.Count).Where(b => !float.IsFinite(scores[b]))];
        if (bad.Length == 0 || Limits.NonFiniteRewardAction == GuardAction.Stop)
            return scores; // StepRows names the first
        string what = $"{bad.Length} of {scores.Count} rewards are not finite, the first is {scores[bad[0]]} of sample {bad[0]}";
        var finding = new Finding("nonfinite_rewards", GuardAction.Skip, what, "The reward function fails on some texts.",
            "Test it with that sample, or set NonFiniteRewardAction to stop.", nameof(DivergenceConfig.NonFiniteRewardAction));
        Report(finding, bad.Length, "These samples are left out. ");
        if (bad.Length == scores.Count)
            throw Diverged(finding);
        CountAsBad(finding);
        float mean = (float)scores.Where(float.IsFinite).Average(s => (double)s);
        foreach (int row in bad)
            rows.LeaveOut(row);
        return scores.Select(s => float.IsFinite(s) ? s : mean).ToArray();
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
        bool trains = true;
        foreach (var finding in (Finding?[])[Kl(kl, tokens / kept.Length), Entropy(entropy), EqualRewards([.. kept.Select(b => scores[b])])])
        {
            if (finding is null)
                continue;
            Report(finding, 1, finding.Action switch
            {
                GuardAction.Skip => "The step's updates are left out. ",
                GuardAction.Tolerate => $"The step is learnt from all the same; more than MaxBadSteps ({Limits.MaxBadSteps}) such steps in a "
                    + "row stop the run. ",
                _ => "",
            });
            if (finding.Action == GuardAction.Stop)
                throw Diverged(finding);
            trains &= finding.Action != GuardAction.Skip;
            if (finding.Action != GuardAction.Warn)
                CountAsBad(finding);
        }
        if (!trains)
            counts[Prefix + "skipped_minibatches"] = config.PpoEpochs * (config.BatchSize / config.MiniBatchSize);
        return trains;
    }

    /// <summary>Is an update finite? It is left out when it is not and this returns.</summary>
    /// <param name="last">Its last minibatch.</param>
    /// <param name="gradNorm">Norm of its gradient.</param>
    /// <param name="miniBatches">Minibatches of the update.</param>
    /// <exception cref="TrainingDivergedException">It is not, and the run is to stop.</exception>
    public bool CheckUpdate(MiniBatchStatistics last, double gradNorm, int miniBatches)
    {
        if (last.NonFinite is null && double.IsFinite(gradNorm))
            return true;
        NonFinite(last.NonFinite ?? "gradient", last.NonFinite is null ? gradNorm : last.TotalLoss, miniBatches);
        return false;
    }

    private void NonFinite(string what, double value, int miniBatches)
    {
        var finding = new Finding("nonfinite_" + what, Limits.NonFiniteAction,
            what == "logits" ? "the logits hold NaN or infinity" : $"the {(what == "gradient" ? "gradient norm" : what)} is {value}",
            what == "logits" ? "The policy's weights are damaged, most often by an update that was too large."
                : "A score or an update was too large.",
            $"Lower LearningRate ({config.LearningRate}), set MaxGradNorm, or scale the scores with UseScoreScaling and ScoreClip.",
            nameof(PpoConfig.LearningRate));
        Report(finding, 1, "That update is left out. ");
        counts[Prefix + "skipped_minibatches"] += miniBatches;
        if (finding.Action == GuardAction.Stop)
            throw Diverged(finding);
        CountAsBad(finding);
    }

    private void CheckForwardPass(StepRows rows, float[] numbers, string what, bool ofPolicy)
    {
        int bad = Array.FindIndex(numbers, n => !float.IsFinite(n));
        if (bad < 0)
            return;
        counts[Prefix + "nonfinite_logits"]++;
        throw Diverged(new Finding("nonfinite_logits", GuardAction.Stop,
            $"the {(ofPolicy ? "policy" : "reference")}'s {what} are not finite before the step's first update (row {rows.RowOf(bad)}: "
            + $"{numbers[bad]})",
            $"The weights themselves are not usable: {(ofPolicy ? "its last updates damaged it" : "its file is damaged")}.",
            $"Go back to an earlier checkpoint and lower LearningRate ({config.LearningRate}), or set MaxGradNorm.",
            nameof(PpoConfig.LearningRate)), weightsAreDamaged: ofPolicy);
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

    private Finding? EqualRewards(float[] scores)
    {
        float least = scores.Min(), most = scores.Max();
        return scores.Length < 2 || most - least > EqualityTolerance * Math.Max(Math.Abs(least), Math.Abs(most)) ? null
            : new("equal_rewards", Limits.EqualRewardsAction, $"all {scores.Length} rewards are {scores[0]}",
                "There is nothing to learn from but the KL penalty: the reward reads what is always the same, or has reached its limit.",
                "Look at the samples, take logits for probabilities, or give more reward for less; EqualRewardsAction decides what "
                + "happens then.", nameof(DivergenceConfig.EqualRewardsAction));
    }

    private void Report(Finding finding, int count, string consequence)
    {
        double before = counts[Prefix + finding.Name];
        counts[Prefix + finding.Name] = before + count;
        if (before > 0)
            return; // one sentence a kind
        string what = char.ToUpperInvariant(finding.What[0]) + finding.What[1..];
        warnings.Add(new(finding.Name, $"{(finding.What.StartsWith("objective", StringComparison.Ordinal) ? finding.What : what)}. {consequence}"
            + $"{finding.Cause} {finding.Advice}"));
    }

    /// <summary>Counts a bad step once, however much of it is left out or tolerated.</summary>
    private void CountAsBad(Finding finding)
    {
        last = finding;
        if (!isBad)
            badSteps.InARow++;
        isBad = true;
        if (badSteps.AreTooMany)
            throw Diverged(finding);
    }

    private TrainingDivergedException Diverged(Finding finding, bool weightsAreDamaged = false) =>
        new(step, finding.What + badSteps.Tally, finding.Advice, finding.Cause, finding.Setting) { WeightsAreDamaged = weightsAreDamaged };

    /// <summary>Something that looks like divergence.</summary>
    /// <param name="Name">Name of its metric.</param>
    /// <param name="Action">What is to be done.</param>
    /// <param name="What">What was seen, with its value.</param>
    /// <param name="Cause">The likely cause, a sentence.</param>
    /// <param name="Advice">What to change, sentences that name settings.</param>
    /// <param name="Setting">The setting to change first.</param>
    private sealed record Finding(string Name, GuardAction Action, string What, string Cause, string Advice, string Setting);
}
