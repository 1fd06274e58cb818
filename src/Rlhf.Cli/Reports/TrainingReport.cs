using Rlhf.Cli.Runs;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Models;
using Rlhf.Runs;
using Rlhf.Tracking;
using Rlhf.Training.Loop;

namespace Rlhf.Cli.Reports;

/// <summary>
/// What fine-tuning and reward modeling say. How such a run ends: summary.json, the model's card, and the last words on the
/// screen.
/// </summary>
internal static class TrainingReport
{
    /// <summary>Shows a warning of the library, with flags for its names of settings; nothing when it is null.</summary>
    public static void Warn(VerbContext context, object? warning)
    {
        if (warning is not null)
            context.Screen.Line($"[yellow]{Screen.Safe(context.Settings.NameFlags(warning.ToString()!))}[/]");
    }

    /// <summary>Logs the warnings of a step as rows of table warnings, so that they can be read later.</summary>
    public static void Log(VerbContext context, IMetricSink sinks, long step, params IEnumerable<TrainingWarning?> warnings)
    {
        IReadOnlyList<object?>[] rows = [.. warnings.OfType<TrainingWarning>().Select(w => (IReadOnlyList<object?>)[w.Kind, context.Settings.NameFlags(w.Text)])];
        if (rows.Length > 0)
            sinks.Write(new SampleTable("warnings", step, ["kind", "message"], rows));
    }

    /// <summary>Writes all three; the card's results are also what the screen shows.</summary>
    public static void Write<T>(VerbContext context, RunFolder folder, T summary, ModelCard card,
        double learningRate, int batchSize, long seed, TimeSpan elapsed)
    {
        folder.WriteSummary(summary);
        (card with
        {
            Settings =
            [
                new("learning rate", SettingValue.Format(learningRate)),
                new("batch size", SettingValue.Format(batchSize)),
                new("seed", SettingValue.Format(seed)),
            ],
            Command = context.CommandLine,
        }).Save(folder.Model);
        if (context.Screen.Json)
            context.Screen.WriteJson(summary);
        else
            context.Screen.Facts("Done", [.. card.Results.Select(r => (r.Key, r.Value)), ("time", ProgressDisplay.Time(elapsed)),
                ("model", folder.Model), ("report", folder[RunFiles.Report])]);
    }
}
