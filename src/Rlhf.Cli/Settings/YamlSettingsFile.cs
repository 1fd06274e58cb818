using System.Text.RegularExpressions;
using Rlhf.Runtime;
using Rlhf.Runtime.Files;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace Rlhf.Cli.Settings;

/// <summary>One "key: value" of a configuration file.</summary>
/// <param name="Key">As written.</param>
/// <param name="Value">The scalar's text; empty when the file gives none.</param>
/// <param name="IsNull">True for an unquoted nothing, ~ or null.</param>
/// <param name="Line">Line of the key; 1 is the first.</param>
internal sealed record FileEntry(string Key, string Value, bool IsNull, long Line)
{
    /// <summary>The value is a list; see <see cref="RepeatedAttribute"/>.</summary>
    public bool IsList { get; init; }
}

/// <summary>
/// Reads a configuration file: one YAML mapping of names to single values or lists of them. Everything else that YAML can do (nesting,
/// anchors, tags, several documents) is refused by line, and nothing is expanded, so a hostile file costs no more than its size.
/// </summary>
internal static partial class YamlSettingsFile
{
    public const int MaximumBytes = 1 << 20;

    /// <summary>The entries of a file in its order.</summary>
    /// <exception cref="ConfigurationException">Lists every problem with file and line.</exception>
    public static IReadOnlyList<FileEntry> Read(string path)
    {
        if (Directory.Exists(path))
            throw new ConfigurationException([$"--config {path} is a folder; name a YAML file."]);
        if (!File.Exists(path))
            throw new ConfigurationException([$"--config {path} does not exist."]);
        return Parse(ReadText(path), path);
    }

    private static string ReadText(string path)
    {
        try
        {
            using var stream = RegularFile.OpenOrPiped(path);
            var bytes = new byte[MaximumBytes + 1];
            int length = stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            if (length > MaximumBytes)
                throw new ConfigurationException(
                    [$"{path} is larger than {MaximumBytes >> 20} MiB, which no configuration file is."]);
            using var reader = new StreamReader(new MemoryStream(bytes, 0, length));
            return reader.ReadToEnd();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException([$"{path} cannot be read: {e.Message}"]);
        }
    }

    /// <summary>The entries of a text; <paramref name="path"/> is for messages.</summary>
    /// <exception cref="ConfigurationException">Lists every problem with file and line.</exception>
    public static IReadOnlyList<FileEntry> Parse(string text, string path)
    {
        List<FileEntry> entries = [];
        List<string> problems = [];
        // The library never comes to the end of a directive that ends with the text, and settings need none.
        if (Directive().Match(text) is { Success: true } directive)
            throw new ConfigurationException(
                [$"{path}, line {text.AsSpan(0, directive.Index).Count('\n') + 1}: lines that begin with % are refused."]);
        try
        {
            Read(new Parser(new StringReader(text)), path, entries, problems);
        }
        catch (YamlException e)
        {
            problems.Add($"{path}, line {e.Start.Line}: this is no YAML: {SettingValue.Shorten(e.Message)}.");
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException or FormatException
            or IndexOutOfRangeException or OverflowException)
        {
            problems.Add($"{path} is no YAML: {SettingValue.Shorten(e.Message)}.");
        }
        ConfigurationException.ThrowIfAny(problems);
        return entries;
    }

    [GeneratedRegex(@"(?<=\A\uFEFF?|[\r\n\u0085\u2028\u2029]\uFEFF?)%")]
    private static partial Regex Directive();

    private static void Read(Parser parser, string path, List<FileEntry> entries, List<string> problems)
    {
        parser.MoveNext(); // the stream
        parser.MoveNext();
        if (parser.Current is StreamEnd)
            return;
        parser.MoveNext(); // the document
        if (parser.Current is Scalar { Value: "" })
            return;
        if (parser.Current is not MappingStart root)
        {
            problems.Add($"{path}, line {parser.Current!.Start.Line}: "
                + "a configuration file is a list of lines such as 'learning_rate: 1e-5'.");
            return;
        }
        if (!IsPlain(root, path, problems))
            return;
        var lines = new Dictionary<string, long>();
        while (parser.MoveNext() && parser.Current is not MappingEnd)
        {
            if (parser.Current is not Scalar key || !IsPlain(key, path, problems))
            {
                problems.Add($"{path}, line {parser.Current!.Start.Line}: a setting's name is missing.");
                return;
            }
            parser.MoveNext();
            if (parser.Current is SequenceStart list && IsPlain(list, path, problems) && Items(parser, path, problems) is { } items)
            {
                Add(new(key.Value, string.Join(RepeatedAttribute.Separator, items), IsNull: false, key.Start.Line) { IsList = true });
                continue;
            }
            if (problems.Count > 0)
                return;
            if (parser.Current is not Scalar value)
            {
                string problem = parser.Current is AnchorAlias
                    ? "is an alias; anchors and aliases are refused." : "needs a single value; settings are not grouped or nested.";
                problems.Add($"{path}, line {key.Start.Line}: '{SettingValue.Shorten(key.Value)}' {problem}");
                return;
            }
            if (!IsPlain(value, path, problems))
                return;
            bool isNull = value.Style == ScalarStyle.Plain && value.Value is ("" or "~" or "null" or "Null" or "NULL");
            Add(new(key.Value, value.Value, isNull, key.Start.Line));
        }
        parser.MoveNext(); // the document's end
        if (parser.MoveNext() && parser.Current is DocumentStart second)
            problems.Add($"{path}, line {second.Start.Line}: a second document begins; a configuration file has one.");

        void Add(FileEntry entry)
        {
            if (lines.TryGetValue(Setting.Normalize(entry.Key), out long first))
                problems.Add($"{path}, line {entry.Line}: '{SettingValue.Shorten(entry.Key)}' was already set in line {first}.");
            lines[Setting.Normalize(entry.Key)] = entry.Line;
            entries.Add(entry);
        }
    }

    /// <summary>The values of a list; null, with the parser at what is not one, where an item is no single value.</summary>
    private static List<string>? Items(Parser parser, string path, List<string> problems)
    {
        List<string> items = [];
        while (parser.MoveNext() && parser.Current is not SequenceEnd)
        {
            if (parser.Current is not Scalar item)
                return null;
            if (!IsPlain(item, path, problems))
                return null;
            items.Add(item.Value);
        }
        return items;
    }

    private static bool IsPlain(NodeEvent node, string path, List<string> problems)
    {
        if (!node.Anchor.IsEmpty)
            problems.Add($"{path}, line {node.Start.Line}: anchors are refused.");
        else if (!node.Tag.IsEmpty)
            problems.Add($"{path}, line {node.Start.Line}: "
                + $"type tags such as '{SettingValue.Shorten(node.Tag.ToString())}' are refused.");
        else
            return true;
        return false;
    }
}
