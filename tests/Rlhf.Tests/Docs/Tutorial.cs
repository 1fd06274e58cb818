using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Rlhf.Tests.Docs;

/// <summary>
/// docs/tutorial.md: Markdown whose C# blocks run one after another. An <c>output</c> block holds what the C# block before it
/// printed; a block below the comment <c>not run</c> is only compiled.
/// </summary>
internal sealed record Tutorial(IReadOnlyList<Tutorial.Part> Parts)
{
    /// <summary>A piece of text, or a C# block that runs, with what it printed.</summary>
    public sealed record Part(string Text, bool IsCode, string Output = "");

    public static Tutorial Parse(string markdown)
    {
        var lines = Markdown.Lines(markdown);
        var parts = new List<Part>();
        int next = 0;
        void AddText(int end)
        {
            string text = string.Join('\n', lines[next..end]).Trim('\n');
            if (text.Length > 0)
                parts.Add(new(text, IsCode: false));
        }
        foreach (var block in Markdown.Blocks(lines))
            if (block.Language == "csharp" && !IsOnlyCompiled(lines, block))
            {
                AddText(block.FirstLine);
                parts.Add(new(block.Text, IsCode: true));
                next = block.LastLine + 1;
            }
            else if (block.Language == "output")
            {
                AddText(block.FirstLine);
                Assert.True(parts[^1].IsCode, $"The output in line {block.FirstLine + 1} follows no C# block.");
                parts[^1] = parts[^1] with { Output = block.Text };
                next = block.LastLine + 1;
            }
        AddText(lines.Length);
        return new(parts);
    }

    public static bool IsOnlyCompiled(string[] lines, FencedBlock block) =>
        block.FirstLine > 0 && lines[block.FirstLine - 1] == "<!-- not run -->";

    /// <summary>The same as Markdown.</summary>
    public override string ToString() => string.Join("\n\n", Parts.Select(part => !part.IsCode ? part.Text
        : $"```csharp\n{part.Text}\n```" + (part.Output.Length == 0 ? "" : $"\n\n```output\n{part.Output}\n```"))) + "\n";

    /// <summary>
    /// A script or a notebook has no <c>using</c> declarations outside of functions, and ends by an exception: its process has other work.
    /// </summary>
    public static string AsCell(string code) => code.Replace("using var ", "var ", StringComparison.Ordinal)
        .Replace("Environment.Exit(2);", "throw new OperationCanceledException();", StringComparison.Ordinal);

    /// <summary>The same as a C# notebook for Polyglot Notebooks.</summary>
    public string ToNotebook(string setup)
    {
        var cells = new JsonArray();
        void Add(string type, string source, string output = "")
        {
            var cell = new JsonObject
            {
                ["cell_type"] = type,
                ["id"] = $"cell-{cells.Count:00}",
                ["metadata"] = type == "markdown" ? [] : new JsonObject
                {
                    ["dotnet_interactive"] = new JsonObject { ["language"] = "csharp" },
                    ["polyglot_notebook"] = new JsonObject { ["kernelName"] = "csharp" },
                },
                ["source"] = SourceLines(source),
            };
            if (type == "code")
            {
                cell["execution_count"] = null;
                cell["outputs"] = output.Length == 0 ? [] : new JsonArray(new JsonObject
                {
                    ["output_type"] = "stream",
                    ["name"] = "stdout",
                    ["text"] = SourceLines(output + "\n"),
                });
            }
            cells.Add((JsonNode)cell);
        }
        foreach (var (part, i) in Parts.Select((part, i) => (part, i)))
        {
            Add(part.IsCode ? "code" : "markdown", part.IsCode ? AsCell(part.Text) : FromNotebooks(part.Text), part.Output);
            if (i == 0)
                Add("code", setup);
        }
        var notebook = new JsonObject
        {
            ["cells"] = cells,
            ["metadata"] = new JsonObject
            {
                ["kernelspec"] = new JsonObject { ["display_name"] = ".NET (C#)", ["language"] = "C#", ["name"] = ".net-csharp" },
                ["language_info"] = new JsonObject { ["name"] = "polyglot-notebook" },
                ["polyglot_notebook"] = new JsonObject
                {
                    ["kernelInfo"] = new JsonObject
                    {
                        ["defaultKernelName"] = "csharp",
                        ["items"] = new JsonArray(new JsonObject { ["aliases"] = new JsonArray(), ["name"] = "csharp" }),
                    },
                },
            },
            ["nbformat"] = 4,
            ["nbformat_minor"] = 5,
        };
        return notebook.ToJsonString(new JsonSerializerOptions
        {
            WriteIndented = true,
            IndentSize = 1,
            NewLine = "\n",
            Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        }) + "\n";
    }

    /// <summary>The code cells of a notebook, without the lines that only a notebook understands.</summary>
    public static IReadOnlyList<Part> CodeOf(string notebook)
    {
        static string Joined(JsonNode? lines) => string.Concat(lines!.AsArray().Select(line => (string)line!));
        var cells = JsonNode.Parse(notebook)!["cells"]!.AsArray();
        return [.. cells.Where(cell => (string)cell!["cell_type"]! == "code").Select(cell => new Part(
            Regex.Replace(Joined(cell!["source"]), @"^#[r!].*$", "", RegexOptions.Multiline), IsCode: true,
            string.Concat(cell["outputs"]!.AsArray().Select(output => Joined(output!["text"])))))];
    }

    // Without what only the page says, and with the links of docs/ as docs/notebooks/ sees them.
    private static string FromNotebooks(string markdown) => Regex.Replace(
        Regex.Replace(markdown, @"<!-- not run -->\n|<!-- not in the notebook -->\n(.+\n)+\n", ""),
        @"\]\((?!https?:|#)(?:notebooks/([^)]*)|([^)]*))\)",
        link => $"]({(link.Groups[1].Success ? link.Groups[1] : "../" + link.Groups[2])})");

    private static JsonArray SourceLines(string text)
    {
        var lines = text.TrimEnd('\n').Split('\n');
        return [.. lines.Select((line, i) => (JsonNode)(i < lines.Length - 1 || text.EndsWith('\n') ? line + "\n" : line))];
    }
}
