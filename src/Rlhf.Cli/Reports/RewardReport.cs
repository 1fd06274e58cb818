using System.Globalization;
using System.Text.Json.Serialization;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Runs;
using Rlhf.Cli.Terminal;
using Rlhf.Models;
using Rlhf.Training.Loop;
using Rlhf.Training.RewardModeling;

namespace Rlhf.Cli.Reports;

/// <summary>How the training of a reward model ended.</summary>
internal static class RewardReport
{
    private sealed record Summary(
        long Steps, double Seconds, long Tokens, double Loss, double? EvalLoss, double? EvalAccuracy, int? EvalExamples,
        string ModelDir)
    {
        /// <summary>By how much the reward was shifted, and its standard deviation.</summary>
        [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        public object? Normalization { get; init; }

        /// <summary>Held-out pairs.</summary>
        [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        public object? HeldOutPairs { get; init; }
    }

    /// <summary>Writes and shows it.</summary>
    public static void Write(
        VerbContext context, RunFolder folder, string source, RewardConfig config, TrainProgress last, PairReport.Outcome? pairs,
        SequenceClassifier model)
    {
        var (moments, measured) = (pairs?.Moments, pairs?.Evaluation);
        var summary = new Summary(last.Step, last.Elapsed.TotalSeconds, last.Tokens, last.Loss, last.Evaluation?.Loss,
            last.Evaluation?.Metrics["accuracy"], last.Evaluation?.Examples, folder.Model)
        {
            Normalization = moments is null ? null : new { Shift = -moments.Mean, moments.StandardDeviation },
            HeldOutPairs = measured is null ? null : PairReport.ToJson(measured),
        };
        List<KeyValuePair<string, string>> results =
        [
            new("steps", last.Step.ToString("N0", CultureInfo.InvariantCulture)),
            new("training loss of the last step", ProgressDisplay.Number(last.Loss, 4)),
        ];
        results.AddRange(LoraFlags.Results(model));
        if (measured is not null)
            results.AddRange(PairReport.Facts(measured).Select(f => KeyValuePair.Create(f.Name, f.Value)));
        else if (last.Evaluation is { } evaluation)
            results.Add(new("accuracy on held-out data", $"{ProgressDisplay.Percent(evaluation.Metrics["accuracy"])} of {evaluation.Examples:N0}"));
        if (moments is not null)
            results.Add(new("reward on training answers", $"mean 0, shifted by {ProgressDisplay.Number(-moments.Mean, 3)}; "
                + $"standard deviation {ProgressDisplay.Number(moments.StandardDeviation, 3)}"));
        var card = new ModelCard(ModelFolders.NameOf(source) + ", reward model",
            "A reward model trained with Rlhf (rlhf reward): its logits score how well a text is liked.")
        {
            PipelineTag = "text-classification",
            Tags = ["reward-model", "rlhf"],
            BaseModel = ModelFolders.BaseModelOf(source),
            Results = results,
            Tables = measured is null ? [] : [PairReport.Curve(measured)],
        };
        if (measured is not null)
            PairReport.WriteCurve(context.Screen, measured);
        TrainingReport.Write(context, folder, summary, card, config.LearningRate, config.BatchSize, config.Seed, last.Elapsed);
    }
}
