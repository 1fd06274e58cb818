using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Models;

namespace Rlhf.Cli.Verbs;

/// <summary>How a fine-tuning or reward model run ends: summary.json, the model's card, and the last words on the screen.</summary>
internal static class TrainingReport
{
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
                ("model", folder.Model)]);
    }
}
