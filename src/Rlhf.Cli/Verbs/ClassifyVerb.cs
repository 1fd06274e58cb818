using System.ComponentModel;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Data;
using Rlhf.Rewards;
using Rlhf.Runtime.Files;

namespace Rlhf.Cli.Verbs;

/// <summary>What to label, and where to.</summary>
internal sealed record ClassifyFlags
{
    [Description("Classifier: a folder or the Hub's org/name; unset: the sentiment classifier that ships.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    public string? Model { get; init; }

    [Description("File for the labelled texts: JSON lines with text, label and score (the label's probability).")]
    [ValueName("FILE")]
    public string? Out { get; init; }

    [Description("Keep only texts whose label has at least this probability.")]
    public double MinScore { get; init; }

    [Description("Texts that are computed together.")]
    public int BatchSize { get; init; } = 32;

    [Description("Replace the file if it is there.")]
    public bool Overwrite { get; init; }

    public IEnumerable<string> Validate()
    {
        if (!(MinScore is >= 0 and <= 1)) yield return $"MinScore is {MinScore}; it is a probability, from 0 to 1.";
        if (BatchSize < 1) yield return $"BatchSize is {BatchSize}; it must be at least 1.";
    }
}

/// <summary><c>rlhf classify</c>: labels texts, so that a classifier can learn from texts that nobody has labelled.</summary>
internal static class ClassifyVerb
{
    private const int ChunkTexts = 1024;
    private static readonly JsonSerializerOptions Writing = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static VerbCommand Create() => new(
        "classify", "labels texts by a classifier.",
        ["rlhf classify --dataset imdb --split unsupervised --min-score 0.9 --out labelled.jsonl"],
        new SettingsBinder()
            .Add("Classifier", new ClassifyFlags(), o => o.Validate())
            .Add("Data", new DatasetFlags(), o => o.Validate())
            .Add("Compute", new ComputeFlags(), o => o.Validate())
            .Check(DatasetFlags.Needed)
            .Check(s => PairsVerb.OutProblems(s.Get<ClassifyFlags>().Out, s.Get<ClassifyFlags>().Overwrite)),
        Run);

    private static int Run(VerbContext context)
    {
        var options = context.Settings.Get<ClassifyFlags>();
        string folder = ModelFolders.ResolveOrShipped(context, "--model", options.Model, ModelFolders.ShippedReward);
        string file = PairsVerb.NewFile(options.Out, options.Overwrite);
        var reviews = context.Settings.Get<DatasetFlags>().Load(context, seed: 0);
        var device = context.Settings.Get<ComputeFlags>().StartToRead($"Classifying with {folder}", folder);
        using var pipeline = TextClassificationPipeline.FromPretrained(folder, device);
        var counts = new SortedDictionary<string, int>(StringComparer.Ordinal);
        AtomicFile.Write(file, stream => ProgressDisplay.Run(context.Screen, "Classifying", "text", reviews.Count, display =>
        {
            int done = 0;
            foreach (var chunk in reviews.Where(r => !string.IsNullOrWhiteSpace(r.Text)).Chunk(ChunkTexts))
            {
                context.Stop.ThrowIfCancellationRequested();
                Write(stream, chunk, pipeline.Classify([.. chunk.Select(r => r.Text)], topK: 1, batchSize: options.BatchSize),
                    options.MinScore, counts);
                display.Report(done += chunk.Length);
            }
            return done;
        }));
        if (context.Screen.Json)
            context.Screen.WriteJson(new { File = file, Texts = reviews.Count, Labelled = counts });
        else
            context.Screen.Facts(file,
            [
                ("texts", $"{reviews.Count:N0}"),
                .. counts.Select(c => (c.Key, $"{c.Value:N0}")),
                ("left out as uncertain", $"{reviews.Count - counts.Values.Sum():N0}"),
            ]);
        return ExitCode.Success;
    }

    private static void Write(
        Stream stream, Review[] texts, IReadOnlyList<IReadOnlyList<LabelScore>> labels, double minScore,
        SortedDictionary<string, int> counts)
    {
        for (int i = 0; i < texts.Length; i++)
        {
            var (label, score) = labels[i][0];
            if (score < minScore)
                continue;
            string line = JsonSerializer.Serialize(new { text = texts[i].Text, label, score = Math.Round(score, 4) }, Writing) + "\n";
            stream.Write(Encoding.UTF8.GetBytes(line));
            counts[label] = counts.GetValueOrDefault(label) + 1;
        }
    }
}
