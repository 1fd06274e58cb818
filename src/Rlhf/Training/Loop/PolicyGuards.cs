namespace Rlhf.Training.Loop;

/// <summary>
/// Watches the steps of a run over rollouts for divergence: finds it, names the likely cause and the setting to change, counts it, and does
/// what <see cref="DivergenceConfig"/> says. What an algorithm looks for besides bad numbers is in a class derived from this.
/// </summary>
/// <param name="prefix">Prefix of the metrics, with its last slash.</param>
/// <param name="limits">What is divergence, and what to do about it.</param>
/// <param name="learningRate">The run's learning rate, for the advice.</param>
internal abstract class PolicyGuards(string prefix, DivergenceConfig limits, double learningRate)
{
    /// <summary>Relative difference from which rewards count as different: rounding of float32.</summary>
    private const float EqualityTolerance = 1e-6f;

    private readonly BadSteps badSteps = new(limits.MaxBadSteps);
    private readonly List<TrainingWarning> warnings = [];
    private readonly Dictionary<string, double> counts = [];
    private long step;
    private bool isBad;
    private Finding? last;

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
        [prefix + "bad_steps_in_a_row"] = badSteps.InARow,
    };

    /// <summary>What is divergence, and what to do about it.</summary>
    protected DivergenceConfig Limits => limits;

    /// <summary>Names of what an algorithm counts besides bad numbers.</summary>
    protected abstract IReadOnlyList<string> OwnCounts { get; }

    /// <summary>What to change where losses or gradients are not finite: a sentence.</summary>
    protected abstract string AdviceOnBadNumbers { get; }

    /// <summary>Are all rewards the same, up to the rounding of float32?</summary>
    public static bool AreEqual(IReadOnlyCollection<float> rewards)
    {
        float least = rewards.Min(), most = rewards.Max();
        return most - least <= EqualityTolerance * Math.Max(Math.Abs(least), Math.Abs(most));
    }

    /// <summary>A new step; the first is 1.</summary>
    public void Begin(long number)
    {
        (step, isBad) = (number, false);
        warnings.Clear();
        foreach (var name in (string[])["skipped_minibatches", "nonfinite_loss", "nonfinite_gradient", "nonfinite_logits",
            "nonfinite_rewards", .. OwnCounts])
            counts[prefix + name] = 0;
    }

    /// <summary>The step is over: if it was not bad, the bad steps are over, too.</summary>
    public void End()
    {
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
        if (bad.Length == 0 || limits.NonFiniteRewardAction == GuardAction.Stop)
            return scores; // StepRows names the first
        string what = $"{bad.Length} of {scores.Count} rewards are not finite, the first is {scores[bad[0]]} of sample {bad[0]}";
        var finding = new Finding("nonfinite_rewards", GuardAction.Skip, what, "The reward function fails on some texts.",
            "Test it with that sample, or set NonFiniteRewardAction to stop.", nameof(DivergenceConfig.NonFiniteRewardAction));
        Report(finding, bad.Length, "These samples are left out. ");
        if (bad.Length == scores.Count)
            throw Diverged(finding);
        CountAsBad(finding);
        foreach (int row in bad)
            rows.LeaveOut(row);
        return WithoutNonFinite(scores);
    }

    /// <summary>The scores with a number in place of those that are not finite: by default the mean of the others.</summary>
    protected virtual IReadOnlyList<float> WithoutNonFinite(IReadOnlyList<float> scores)
    {
        float mean = (float)scores.Where(float.IsFinite).Average(s => (double)s);
        return [.. scores.Select(s => float.IsFinite(s) ? s : mean)];
    }

    /// <summary>Reports findings that are known before a step's first update, and does what they ask for.</summary>
    /// <param name="findings">The findings; null: none.</param>
    /// <param name="miniBatches">Minibatches of the step, which are counted where they are left out.</param>
    /// <returns>False when the step's updates are to be left out.</returns>
    /// <exception cref="TrainingDivergedException">The run is to stop.</exception>
    protected bool Act(IEnumerable<Finding?> findings, int miniBatches)
    {
        bool trains = true;
        foreach (var finding in findings)
        {
            if (finding is null)
                continue;
            Report(finding, 1, finding.Action switch
            {
                GuardAction.Skip => "The step's updates are left out. ",
                GuardAction.Tolerate => $"The step is learnt from all the same; more than MaxBadSteps ({limits.MaxBadSteps}) such steps in a "
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
            counts[prefix + "skipped_minibatches"] = miniBatches;
        return trains;
    }

    /// <summary>Is an update finite? It is left out when it is not and this returns.</summary>
    /// <param name="nonFinite">What of its minibatches is not finite, loss or logits; null: nothing.</param>
    /// <param name="loss">The loss of its last minibatch.</param>
    /// <param name="gradNorm">Norm of its gradient.</param>
    /// <param name="miniBatches">Minibatches of the update.</param>
    /// <exception cref="TrainingDivergedException">It is not, and the run is to stop.</exception>
    public bool CheckUpdate(string? nonFinite, double loss, double gradNorm, int miniBatches)
    {
        if (nonFinite is null && double.IsFinite(gradNorm))
            return true;
        string what = nonFinite ?? "gradient";
        var finding = new Finding("nonfinite_" + what, limits.NonFiniteAction,
            what == "logits" ? "the logits hold NaN or infinity"
                : $"the {(what == "gradient" ? "gradient norm" : what)} is {(nonFinite is null ? gradNorm : loss)}",
            what == "logits" ? "The policy's weights are damaged, most often by an update that was too large."
                : "A score or an update was too large.", AdviceOnBadNumbers, "LearningRate");
        Report(finding, 1, "That update is left out. ");
        counts[prefix + "skipped_minibatches"] += miniBatches;
        if (finding.Action == GuardAction.Stop)
            throw Diverged(finding);
        CountAsBad(finding);
        return false;
    }

    /// <summary>Refuses numbers [R] of a pass before a step's first update that are not finite.</summary>
    /// <exception cref="TrainingDivergedException">They are not.</exception>
    protected void CheckForwardPass(StepRows rows, float[] numbers, string what, bool ofPolicy)
    {
        int bad = Array.FindIndex(numbers, n => !float.IsFinite(n));
        if (bad < 0)
            return;
        counts[prefix + "nonfinite_logits"]++;
        throw Diverged(new Finding("nonfinite_logits", GuardAction.Stop,
            $"the {(ofPolicy ? "policy" : "reference")}'s {what} are not finite before the step's first update (row {rows.RowOf(bad)}: "
            + $"{numbers[bad]})",
            $"The weights themselves are not usable: {(ofPolicy ? "its last updates damaged it" : "its file is damaged")}.",
            $"Go back to an earlier checkpoint and lower LearningRate ({learningRate}), or set MaxGradNorm.",
            "LearningRate"), weightsAreDamaged: ofPolicy);
    }

    /// <summary>Counts a bad step once, however much of it is left out or tolerated.</summary>
    protected void CountAsBad(Finding finding)
    {
        last = finding;
        if (!isBad)
            badSteps.InARow++;
        isBad = true;
        if (badSteps.AreTooMany)
            throw Diverged(finding);
    }

    private void Report(Finding finding, int count, string consequence)
    {
        double before = counts[prefix + finding.Name];
        counts[prefix + finding.Name] = before + count;
        if (before > 0)
            return; // one sentence a kind
        string what = char.ToUpperInvariant(finding.What[0]) + finding.What[1..];
        warnings.Add(new(finding.Name, $"{(finding.What.StartsWith("objective", StringComparison.Ordinal) ? finding.What : what)}. {consequence}"
            + $"{finding.Cause} {finding.Advice}"));
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
    protected sealed record Finding(string Name, GuardAction Action, string What, string Cause, string Advice, string Setting);
}
