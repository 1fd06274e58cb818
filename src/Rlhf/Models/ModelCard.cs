using System.Globalization;
using System.Text;
using Rlhf.Runtime;

namespace Rlhf.Models;

/// <summary>The README.md of a model folder, as Hugging Face's hub shows it: what the model is, how it was made, what it reached.</summary>
/// <param name="Title">First heading.</param>
/// <param name="Summary">One paragraph.</param>
public sealed record ModelCard(string Title, string Summary)
{
    /// <summary>The hub's task name, such as <c>text-generation</c>.</summary>
    public string? PipelineTag { get; init; }

    /// <summary>The hub's tags.</summary>
    public IReadOnlyList<string> Tags { get; init; } = [];

    /// <summary>The run's own numbers.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Results { get; init; } = [];

    /// <summary>Settings that made the model.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Settings { get; init; } = [];

    /// <summary>Writes README.md.</summary>
    /// <param name="folder">The model folder.</param>
    public void Save(string folder)
    {
        var text = new StringBuilder("---\nlibrary_name: transformers\n");
        if (PipelineTag is not null)
            text.Append(CultureInfo.InvariantCulture, $"pipeline_tag: {PipelineTag}\n");
        if (Tags.Count > 0)
            text.Append("tags:\n").AppendJoin("", Tags.Select(t => $"- {t}\n"));
        text.Append(CultureInfo.InvariantCulture, $"---\n\n# {OneLine(Title)}\n\n{OneLine(Summary)}\n");
        AppendTable(text, "Results", Results);
        AppendTable(text, "Settings", Settings);
        AtomicFile.WriteAllText(Path.Combine(folder, "README.md"), text.ToString());
    }

    private static void AppendTable(StringBuilder text, string heading, IReadOnlyList<KeyValuePair<string, string>> rows)
    {
        if (rows.Count == 0)
            return;
        text.Append(CultureInfo.InvariantCulture, $"\n## {heading}\n\n| | |\n|---|---|\n");
        foreach (var (name, value) in rows)
            text.Append(CultureInfo.InvariantCulture, $"| {OneLine(name)} | {OneLine(value)} |\n");
    }

    private static string OneLine(string text) => text.ReplaceLineEndings(" ").Replace("|", "\\|");
}
