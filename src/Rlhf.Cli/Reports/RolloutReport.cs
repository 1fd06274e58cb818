using Rlhf.Cli.Runs;
using Rlhf.Cli.Terminal;
using Rlhf.Data;
using Rlhf.Evaluation;
using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Runs;
using Rlhf.Tracking;
using Rlhf.Training.Loop;

namespace Rlhf.Cli.Reports;

/// <summary>What trainings on a policy's own answers say: each step, the comparison before and after, and how the run ended.</summary>
internal sealed class RolloutReport(VerbContext context)
{
    private readonly HashSet<string> warned = [];

    /// <summary>Logs and shows a step.</summary>
    /// <param name="display">The progress.</param>
    /// <param name="sinks">Where metrics and samples go.</param>
    /// <param name="step">The step.</param>
    /// <param name="shown">Numbers to show beside the reward.</param>
    public void Step(ProgressDisplay display, IMetricSink sinks, RolloutProgress step, params (string Name, double Value)[] shown)
    {
        sinks.Write(step.GameLog());
        TrainingReport.Log(context, sinks, step.Step, step.Statistics.Warnings);
        sinks.Write(step.Metrics);
        foreach (var warning in step.Statistics.Warnings)
            if (warned.Add(warning.Kind)) // one of a kind, whatever its numbers
                TrainingReport.Warn(context, $"Step {step.Step}: {warning}");
        display.Report(step.Step, [("reward", ProgressDisplay.Number(step.Statistics.RewardMean)),
            .. shown.Select(s => (s.Name, ProgressDisplay.Number(s.Value)))]);
    }

    /// <summary>The comparison, or null when the run was interrupted.</summary>
    public EvaluationComparison? Compare(PolicyEvaluator evaluator, Reference before, CausalLM after)
    {
        if (context.Stop.IsCancellationRequested)
            return null;
        context.Screen.Line("Answering the held-out queries …");
        try
        {
            return evaluator.Compare(before, after, context.Stop);
        }
        catch (OperationCanceledException)
        {
            return null;
        }
    }

    /// <summary>
    /// What the policy before training reaches on the held-out queries when it answers each several times and the reward chooses: the baseline that
    /// needs no training. Null where it is not wanted, or when the run was interrupted.
    /// </summary>
    public (int Answers, SampleStatistics Reward)? BestOf(PolicyEvaluator evaluator, Reference before, int answers)
    {
        if (context.Stop.IsCancellationRequested || answers == 0)
            return null;
        try
        {
            return (answers, SampleStatistics.Of([.. evaluator.BestOf(before, answers, context.Stop).Select(r => (double)r.BestReward)], evaluator.Seed));
        }
        catch (OperationCanceledException)
        {
            return null;
        }
    }

    /// <summary>Writes the model's card, summary.json and evaluation.json, and shows how the run ended.</summary>
    public void Finish(RunFolder folder, long steps, TimeSpan elapsed, EvaluationComparison? comparison, ModelCard card,
        (int Answers, SampleStatistics Reward)? bestOf = null)
    {
        var screen = context.Screen;
        (card with
        {
            PipelineTag = "text-generation",
            Tables = comparison is null ? [] : ComparisonTables.Of(comparison),
            Command = context.CommandLine,
        }).Save(folder.Model);
        var summary = RunSummary.Of(comparison, steps, elapsed.TotalSeconds, folder.Model) with
        {
            BestOfAnswers = bestOf?.Answers,
            BestOfReward = bestOf is var (_, reward) ? RewardSummary.Of(reward) : null,
        };
        summary.Save(folder.Path);
        if (comparison is not null)
        {
            new EvaluationFile(steps, comparison).Save(folder.Path);
            ComparisonReport.Write(screen, comparison);
        }
        if (bestOf is var (answers, best))
            screen.Line(ComparisonReport.BestOf(answers, best) + "\n");
        if (screen.Json)
            screen.WriteJson(summary);
        else
            screen.Facts(comparison is null ? "Stopped" : "Done",
                [("steps", $"{steps:N0}"), ("time", ProgressDisplay.Time(elapsed)), ("model", folder.Model), ("report", folder[RunFiles.Report])]);
    }
}
