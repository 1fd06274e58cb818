using Rlhf.Evaluation;
using Rlhf.Runs;

namespace Rlhf.Reporting;

/// <summary>How a run came out, in a word.</summary>
public enum Outcome
{
    /// <summary>Better, as far as was measured.</summary>
    Improved,

    /// <summary>Better by what it was trained on, with a reason to doubt it.</summary>
    Doubtful,

    /// <summary>No difference that the numbers can tell.</summary>
    Unclear,

    /// <summary>Worse.</summary>
    Worse,

    /// <summary>It did not come to a measurement.</summary>
    Unmeasured,

    /// <summary>It ended with an error.</summary>
    Failed,
}

/// <summary>What a run came to, from its numbers alone.</summary>
/// <param name="Outcome">In a word.</param>
/// <param name="Sentence">In a sentence.</param>
public sealed record RunVerdict(Outcome Outcome, string Sentence)
{
    /// <summary>Is the outcome one against chance, rather than against what was before?</summary>
    public bool IsAgainstChance { get; init; }

    // Below these shares of what it was, the variety of the responses has become less, or collapsed.
    private const double LessVaried = 0.85, Collapsed = 0.5;

    /// <summary>Judges a run.</summary>
    public static RunVerdict Of(RunData run) => run.Info?.State == RunState.Failed ? Failed(run)
        : run.Info?.State is RunState.Running ? Unmeasured(run)
        : run.Evaluation is { } evaluation && evaluation.Step == run.LastStep ? OfComparison(evaluation.Comparison)
        : run.Number("reward_after", "mean") is not null ? OfSummary(run)
        : run.Kind.HeldOut.FirstOrDefault(m => run.Number(m.Number.Split('.')) is not null) is { } measure ? OfMeasure(run, measure)
        : Unmeasured(run);

    private static RunVerdict OfComparison(EvaluationComparison c)
    {
        var (gain, judge) = (c.RewardGain, c.JudgeGain);
        string queries = $"on {Numbers.Count(c.Rows.Count, "held-out query", "held-out queries")}";
        string reward = Clear(gain.MeanCi95) switch
        {
            0 => $"Reward did not clearly change {queries} ({Numbers.Signed(c.Before.Reward.Mean)} before, {Numbers.Signed(c.After.Reward.Mean)} after, "
                + $"difference {Interval(gain)})",
            var sign => $"Reward {(sign > 0 ? "rose" : "fell")} from {Numbers.Signed(c.Before.Reward.Mean)} to {Numbers.Signed(c.After.Reward.Mean)} {queries} "
                + $"(difference {Interval(gain)})",
        };
        string judged = c.Before.Judge is not { } before || c.After.Judge is not { } after ? ""
            : $"; a judge that training never saw " + ((judge is null ? null : (int?)Clear(judge.MeanCi95)) switch
            {
                null => $"went from {Numbers.Signed(before.Mean)} to {Numbers.Signed(after.Mean)}",
                0 => $"sees no clear change ({Interval(judge!)})",
                var sign when sign == Clear(gain.MeanCi95) => $"agrees ({Interval(judge!)})",
                > 0 => $"sees a rise ({Interval(judge!)})",
                _ => $"disagrees ({Interval(judge!)})",
            });
        return Judge(reward + judged, Clear(gain.MeanCi95), judge is null ? null : Clear(judge.MeanCi95), c.After.Kl, c.Before.Distinct2,
            c.After.Distinct2);
    }

    private static RunVerdict OfSummary(RunData run)
    {
        double before = run.Number("reward_before", "mean") ?? double.NaN, after = run.Number("reward_after", "mean") ?? double.NaN;
        var (was, now) = (run.Interval("reward_before", "ci95"), run.Interval("reward_after", "ci95"));
        // Intervals that do not meet: the careful reading where differences query by query are not known.
        int sign = was is null || now is null ? 0 : now.Value.Low > was.Value.High ? 1 : now.Value.High < was.Value.Low ? -1 : 0;
        string queries = run.Number("queries") is { } n ? $" on {Numbers.Count((long)n, "held-out query", "held-out queries")}" : "";
        string reward = sign == 0
            ? $"Reward did not clearly change{queries} ({Numbers.Signed(before)} before, {Numbers.Signed(after)} after)"
            : $"Reward {(sign > 0 ? "rose" : "fell")} from {Numbers.Signed(before)} to {Numbers.Signed(after)}{queries}, beyond its 95 % interval";
        string judged = run.Number("judge_before") is { } judgeBefore && run.Number("judge_after") is { } judgeAfter
            ? $"; a judge that training never saw went from {Numbers.Signed(judgeBefore)} to {Numbers.Signed(judgeAfter)}" : "";
        return Judge(reward + judged, sign, judged == "" ? null : Math.Sign(run.Number("judge_after")!.Value - run.Number("judge_before")!.Value),
            run.Number("kl"), run.Number("distinct2_before"), run.Number("distinct2_after"));
    }

    private static RunVerdict Judge(string text, int reward, int? judge, double? kl, double? distinctBefore, double? distinctAfter)
    {
        double kept = distinctBefore is > 0 && distinctAfter is { } now ? now / distinctBefore.Value : 1;
        string distance = kl is { } nats ? $"; the policy is {Numbers.Fixed(nats, 1)} nats of KL per response from where it began" : "";
        string change = distinctBefore is { } d && distinctAfter is { } e ? $" (distinct-2 {Numbers.Fixed(d)} to {Numbers.Fixed(e)})" : "";
        string variety = change == "" ? "" : kept < LessVaried ? $", and its responses are less varied{change}" : $", and its responses are about as varied as before{change}";
        var outcome = reward < 0 ? Outcome.Worse : reward == 0 ? Outcome.Unclear
            : judge is null or > 0 && kept >= Collapsed ? Outcome.Improved : Outcome.Doubtful;
        return new(outcome, text + distance + variety + ".");
    }

    private static RunVerdict OfMeasure(RunData run, HeldOutMeasure measure)
    {
        double value = run.Number(measure.Number.Split('.'))!.Value;
        return measure.Chance is { } chance ? OfShare(run, measure, value, chance) : OfCurve(run, measure, value);
    }

    /// <summary>A share, against what chance would give.</summary>
    private static RunVerdict OfShare(RunData run, HeldOutMeasure measure, double share, double chance)
    {
        double? count = measure.Count is { } place ? run.Number(place.Split('.')) : null;
        var interval = measure.Interval is { } known ? run.Interval(known.Split('.')) : count is > 0 and var n ? ConfidenceInterval.OfShare(share, n) : (ConfidenceInterval?)null;
        string range = interval is { } i ? $" (95 % interval {Numbers.Percent(i.Low)} to {Numbers.Percent(i.High)})" : "";
        string of = count is { } c ? $" of {Numbers.Count((long)c, measure.Unit)}" : "";
        var outcome = interval is { } wide && wide.Low > chance ? Outcome.Improved
            : interval is { } narrow && narrow.High < chance ? Outcome.Worse : Outcome.Unclear;
        return new(outcome, $"{measure.Subject} {Numbers.Percent(share)}{of}{range}"
            + (outcome != Outcome.Unclear ? "." : chance == 0.5 ? ", which two equally likely answers would give by chance." : ", which chance would give."))
        {
            IsAgainstChance = true,
        };
    }

    /// <summary>A number that was also measured on the way: better or worse than at first.</summary>
    private static RunVerdict OfCurve(RunData run, HeldOutMeasure measure, double value)
    {
        ChartPoint[] measured = measure.Metric is { } metric ? [.. run.Points(metric).Where(p => double.IsFinite(p.Y))] : [];
        if (measured.Length < 2)
            return new(Outcome.Unmeasured, $"{measure.Subject} is {Numbers.Short(value)} after {Numbers.Count(run.LastStep, "step")}.");
        var (first, last) = (measured[0], measured[^1]);
        return new((measure.HigherIsBetter ? last.Y > first.Y : last.Y < first.Y) ? Outcome.Improved : Outcome.Worse,
            $"{measure.Subject} {(last.Y < first.Y ? "fell" : "rose")} from {Numbers.Short(first.Y)} at step {Numbers.Count((long)first.X)} to "
            + $"{Numbers.Short(last.Y)} at step {Numbers.Count((long)last.X)}.");
    }

    private static RunVerdict Failed(RunData run) => new(Outcome.Failed,
        $"The run failed after {Numbers.Count(run.LastStep, "step")}" + (run.Info?.Message is { Length: > 0 } why ? ": " + why : "."));

    private static RunVerdict Unmeasured(RunData run)
    {
        long asked = run.Info?.Steps ?? run.LastStep;
        string how = run.Info?.State switch
        {
            RunState.Running => "The run is not finished",
            RunState.Stopped => "The run was stopped",
            _ => "The run ended",
        } + " after " + (asked > run.LastStep ? $"{Numbers.Count(run.LastStep)} of {Numbers.Count(asked, "step")}" : Numbers.Count(run.LastStep, "step"));
        var rewards = run.Points("env/reward_mean").Where(p => double.IsFinite(p.Y)).Select(p => p.Y).ToArray();
        var losses = run.Points("train/loss").Where(p => double.IsFinite(p.Y)).Select(p => p.Y).ToArray();
        string change = rewards.Length >= 2 ? Change("reward", rewards) : losses.Length >= 2 ? Change("loss", losses) : "";
        return new(Outcome.Unmeasured, $"{how}{change}; nothing was measured on held-out data.");
    }

    private static string Change(string what, double[] values)
    {
        int few = Math.Clamp(values.Length / 10, 1, 10);
        return $": mean {what} of its batches went from {Numbers.Fixed(values.Take(few).Average())} to {Numbers.Fixed(values.TakeLast(few).Average())}";
    }

    /// <summary>+1 or -1 where the whole interval lies on one side of zero; else 0.</summary>
    private static int Clear(ConfidenceInterval i) => i.Low > 0 ? 1 : i.High < 0 ? -1 : 0;

    private static string Interval(SampleStatistics s) =>
        $"{Numbers.Signed(s.Mean)}, 95 % interval {Numbers.Signed(s.MeanCi95.Low)} to {Numbers.Signed(s.MeanCi95.High)}";
}
