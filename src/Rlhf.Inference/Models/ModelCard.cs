using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Rlhf.Runtime.Files;
using Rlhf.Weights;

namespace Rlhf.Models;

/// <summary>A table of a <see cref="ModelCard"/> with its own heading.</summary>
/// <param name="Heading">Heading above the table.</param>
/// <param name="Columns">Column titles; a title may be empty.</param>
/// <param name="Rows">Cells of each row, as many as there are columns.</param>
public sealed record ModelCardTable(string Heading, IReadOnlyList<string> Columns, IReadOnlyList<IReadOnlyList<string>> Rows);

/// <summary>
/// The README.md of a model folder, as Hugging Face's hub shows it: what the model is, how it was made, what it reached.
/// </summary>
/// <param name="Title">First heading.</param>
/// <param name="Summary">One paragraph.</param>
public sealed partial record ModelCard(string Title, string Summary)
{
    /// <summary>The hub's task name, such as <c>text-generation</c>.</summary>
    public string? PipelineTag { get; init; }

    /// <summary>The library that opens the model, as the hub calls it.</summary>
    public string Library { get; init; } = "transformers";

    /// <summary>The hub's name of the license, such as <c>apache-2.0</c>; null says nothing.</summary>
    public string? License { get; init; }

    /// <summary>Language code, such as <c>en</c>; null says nothing.</summary>
    public string? Language { get; init; }

    /// <summary>The hub's name of the model that this one was made from; null says nothing.</summary>
    public string? BaseModel { get; init; }

    /// <summary>The hub's tags.</summary>
    public IReadOnlyList<string> Tags { get; init; } = [];

    /// <summary>The hub's names of the data sets behind the model.</summary>
    public IReadOnlyList<string> Datasets { get; init; } = [];

    /// <summary>The run's own numbers.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Results { get; init; } = [];

    /// <summary>Further tables of results, such as samples.</summary>
    public IReadOnlyList<ModelCardTable> Tables { get; init; } = [];

    /// <summary>Settings that made the model.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Settings { get; init; } = [];

    /// <summary>The command that made the model; null says nothing.</summary>
    public string? Command { get; init; }

    /// <summary>Writes README.md atomically; for a folder with an adapter, as the card of one.</summary>
    /// <param name="folder">The model folder, which must exist.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be written.</exception>
    public void Save(string folder) => AtomicFile.WriteAllText(Path.Combine(folder, "README.md"),
        (AdapterFolder.IsAdapter(folder) ? this with { Library = "peft", Tags = [.. Tags, "lora"] } : this).ToMarkdown());

    /// <summary>The card as Markdown with YAML front matter.</summary>
    public string ToMarkdown()
    {
        var text = new StringBuilder($"---\nlibrary_name: {Library}\n");
        AppendValue(text, "pipeline_tag", PipelineTag);
        AppendValue(text, "license", License);
        AppendValue(text, "language", Language);
        AppendValue(text, "base_model", BaseModel);
        AppendList(text, "tags", Tags);
        AppendList(text, "datasets", Datasets);
        text.Append(CultureInfo.InvariantCulture, $"---\n\n# {OneLine(Title)}\n\n{Paragraph(Summary)}\n");
        AppendTable(text, Pairs("Results", Results));
        foreach (var table in Tables)
            AppendTable(text, table);
        AppendTable(text, Pairs("Settings", Settings));
        if (Command is not null)
            text.Append(CultureInfo.InvariantCulture, $"\n## Made with\n\n{Fenced(Command)}\n");
        return text.ToString();
    }

    private static ModelCardTable Pairs(string heading, IReadOnlyList<KeyValuePair<string, string>> rows) =>
        new(heading, ["", ""], [.. rows.Select(r => (IReadOnlyList<string>)[r.Key, r.Value])]);

    private static void AppendTable(StringBuilder text, ModelCardTable table)
    {
        if (table.Rows.Count == 0)
            return;
        text.Append(CultureInfo.InvariantCulture, $"\n## {OneLine(table.Heading)}\n\n");
        AppendRow(text, table.Columns);
        AppendRow(text, [.. table.Columns.Select(_ => "---")]);
        foreach (var row in table.Rows)
            AppendRow(text, row);
    }

    private static void AppendRow(StringBuilder text, IReadOnlyList<string> cells) =>
        text.Append("| ").AppendJoin(" | ", cells.Select(OneLine)).Append(" |\n");

    private static void AppendValue(StringBuilder text, string key, string? value)
    {
        if (value is not null)
            text.Append(CultureInfo.InvariantCulture, $"{key}: {Yaml(value)}\n");
    }

    private static void AppendList(StringBuilder text, string key, IReadOnlyList<string> values)
    {
        if (values.Count > 0)
            text.Append(CultureInfo.InvariantCulture, $"{key}:\n").AppendJoin("", values.Select(v => $"- {Yaml(v)}\n"));
    }

    /// <summary>A YAML string: plain where no reader could take it for anything else, otherwise quoted.</summary>
    private static string Yaml(string value) =>
        PlainYaml().IsMatch(value) && !YamlWord().IsMatch(value) ? value : Quoted(value);

    private static string Quoted(string value)
    {
        var quoted = new StringBuilder("\"");
        foreach (var rune in value.EnumerateRunes())
            _ = rune.Value switch
            {
                '"' or '\\' => quoted.Append('\\').Append((char)rune.Value),
                '\n' => quoted.Append("\\n"),
                _ when IsReadable(rune) => quoted.Append(rune.ToString()),
                // In YAML, unlike JSON, halves of a surrogate pair do not add up to a character.
                _ => quoted.Append(CultureInfo.InvariantCulture, $"\\U{rune.Value:x8}"),
            };
        return quoted.Append('"').ToString();
    }

    private static bool IsReadable(Rune rune) => rune.Value == ' ' || Rune.GetUnicodeCategory(rune) is not (
        UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.SpaceSeparator or UnicodeCategory.LineSeparator
        or UnicodeCategory.ParagraphSeparator or UnicodeCategory.OtherNotAssigned or UnicodeCategory.PrivateUse);

    /// <summary>
    /// Text in one line that ends neither a table cell nor a heading, and in which no browser sees a tag, a link or a picture.
    /// </summary>
    private static string OneLine(string text) =>
        Markup().Replace(Entity().Replace(Unseen().Replace(LineBreaks().Replace(text, " "), ""), "&amp;"), @"\$0")
            .Replace("<", "&lt;");

    /// <summary>The same at the beginning of a line, where a list or a quotation could begin.</summary>
    private static string Paragraph(string text) => BlockStart().Replace(OneLine(text).Trim(), @"$1\$2");

    /// <summary>A code block whose fence is longer than any in the text.</summary>
    private static string Fenced(string text)
    {
        var fence = new string('`', Math.Max(3, Backticks().Matches(text).Select(m => m.Length + 1).DefaultIfEmpty(0).Max()));
        return $"{fence}sh\n{Unseen().Replace(text, "").Trim()}\n{fence}";
    }

    [GeneratedRegex(@"[\\|`*\[\]]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")]
    private static partial Regex Markup();

    [GeneratedRegex(@"&(?=#?\w+;)")]
    private static partial Regex Entity();

    [GeneratedRegex(@"^(\d*)([#>+\-=~.)])")]
    private static partial Regex BlockStart();

    // Control characters, and the marks that make text run from right to left and so show a line as what it is not.
    [GeneratedRegex(@"(?![\t\n])[\p{Cc}\u202A-\u202E\u2066-\u2069]")]
    private static partial Regex Unseen();

    [GeneratedRegex(@"\A[A-Za-z][A-Za-z0-9._/-]*\z")]
    private static partial Regex PlainYaml();

    [GeneratedRegex(@"\A(y|n|yes|no|on|off|true|false|null)\z", RegexOptions.IgnoreCase)]
    private static partial Regex YamlWord();

    [GeneratedRegex(@"[\r\n\f\u0085\u2028\u2029]+")]
    private static partial Regex LineBreaks();

    [GeneratedRegex("`+")]
    private static partial Regex Backticks();
}
