using System.ComponentModel;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Data;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Runtime.Files;

namespace Rlhf.Cli.Verbs;

/// <summary>What to label, and where to.</summary>
internal sealed record ClassifyFlags
{
    [Description("Classifier: a folder or the Hub's org/name; default: the sentiment classifier that ships.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    public string? Model { get; init; }

    [Description("File for the labeled texts: JSON lines with the columns of the data set, label and score, in the data set's order.")]
    [ValueName("FILE")]
    public string? Out { get; init; }

    [Description("Keep only texts whose label has at least this probability; default: all texts.")]
    [ValueName("P")]
    public double? MinScore { get; init; }

    [Description("Texts that are computed together.")]
    public int BatchSize { get; init; } = 32;

    [Description("Replace the file if it is there.")]
    public bool Overwrite { get; init; }

    public IEnumerable<string> Validate()
    {
        if (MinScore is not (null or >= 0 and <= 1)) yield return $"MinScore is {MinScore}; it is a probability, from 0 to 1.";
        if (BatchSize < 1) yield return $"BatchSize is {BatchSize}; it must be at least 1.";
    }
}

/// <summary><c>rlhf classify</c>: labels texts, so that a classifier can learn from texts that nobody has labeled.</summary>
internal static class ClassifyVerb
{
    private const int ChunkTexts = 1024;
    private static readonly JsonSerializerOptions Writing = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static VerbCommand Create() => new(
        "classify", "labels texts by a classifier.",
        ["rlhf classify --dataset imdb --split unsupervised --min-score 0.9 --out labelled.jsonl"],
        new SettingsBinder()
            .Add("Classifier", new ClassifyFlags(), o => o.Validate())
            .Add("Data", new DatasetFlags(), o => o.Validate(), hide: nameof(DatasetFlags.LabelColumn))
            .Add("Compute", new ComputeFlags(), o => o.Validate())
            .Check(DatasetFlags.Needed)
            .Check(s => PairsVerb.OutProblems(s.Get<ClassifyFlags>().Out, s.Get<ClassifyFlags>().Overwrite)),
        Run);

    private static int Run(VerbContext context)
    {
        var options = context.Settings.Get<ClassifyFlags>();
        string folder = ModelFolders.ResolveOrShipped(context, "--model", options.Model, ModelFolders.ShippedReward);
        string file = PairsVerb.NewFile(options.Out, options.Overwrite);
        var rows = context.Settings.Get<DatasetFlags>().LoadRows(context, seed: 0);
        var device = context.Settings.Get<ComputeFlags>().StartToRead($"Classifying with {folder}", folder);
        using var pipeline = TextClassificationPipeline.FromPretrained(folder, device);
        if (options.MinScore is not null && !pipeline.GivesProbabilities)
            throw new ConfigurationException(
                [$"--min-score is a probability, and {folder} is a regression model, whose scores are none; leave it out and filter {file} by score."]);
        var counts = new SortedDictionary<string, int>(StringComparer.Ordinal);
        int blank = 0;
        AtomicFile.Write(file, stream => ProgressDisplay.Run(context.Screen, "Classifying", "text", rows.Count, display =>
        {
            int done = 0;
            foreach (var chunk in rows.Chunk(ChunkTexts))
            {
                context.Stop.ThrowIfCancellationRequested();
                string[] texts = [.. chunk.Select(r => r.Review.Text).Where(text => !string.IsNullOrWhiteSpace(text))];
                var labels = new Queue<LabelScore>(pipeline.Classify(texts, topK: 1, batchSize: options.BatchSize).Select(scores => scores[0]));
                foreach (var (review, columns) in chunk)
                {
                    // A text without a word has no label, and stays in its place all the same.
                    LabelScore? label = string.IsNullOrWhiteSpace(review.Text) ? null : labels.Dequeue();
                    blank += label is null ? 1 : 0;
                    if (options.MinScore is { } least && !(label?.Score >= least))
                        continue;
                    stream.Write(Encoding.UTF8.GetBytes(Line(review, columns, label).ToJsonString(Writing) + "\n"));
                    if (label is { } known)
                        counts[known.Label] = counts.GetValueOrDefault(known.Label) + 1;
                }
                display.Report(done += chunk.Length);
            }
            return done;
        }));
        int uncertain = rows.Count - blank - counts.Values.Sum();
        if (context.Screen.Json)
            context.Screen.WriteJson(new { File = file, Texts = rows.Count, Labeled = counts });
        else
            context.Screen.Facts(file,
            [
                ("texts", $"{rows.Count:N0}"),
                .. counts.Select(c => (c.Key, $"{c.Value:N0}")),
                .. options.MinScore is null ? [] : ((string, string)[])[("left out as uncertain", $"{uncertain:N0}")],
                .. blank == 0 ? [] : ((string, string)[])[("without a word", $"{blank:N0}")],
            ]);
        return ExitCode.Success;
    }

    /// <summary>A row as it was, with its label and score behind; its own columns of these names are called original_label and original_score.</summary>
    internal static JsonObject Line(Review review, IReadOnlyList<KeyValuePair<string, JsonNode?>>? columns, LabelScore? label)
    {
        var line = new JsonObject { ["text"] = review.Text };
        foreach (var (name, value) in columns ?? [])
            line[name is "label" or "score" or "text" ? "original_" + name : name] = value?.DeepClone();
        line["label"] = label?.Label;
        line["score"] = label is { } known ? Math.Round(known.Score, 4) : null;
        return line;
    }
}
