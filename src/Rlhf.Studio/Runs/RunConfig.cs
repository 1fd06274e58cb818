using System.Globalization;
using Rlhf.Runs;
using Rlhf.Runtime.Files;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace Rlhf.Studio.Runs;

/// <summary>One line of a run's settings.</summary>
/// <param name="Section">The heading that it stands under.</param>
/// <param name="Key">Its name.</param>
/// <param name="Value">Its value; empty for null, and of a list its items with commas between them.</param>
public readonly record struct ConfigEntry(string Section, string Key, string Value);

/// <summary>A run's config.yaml, which is flat: <c>key: value</c> or <c>key: [value, value]</c> under comments that are headings.</summary>
/// <param name="Verb">The verb that the run is of; empty where the file does not say.</param>
/// <param name="Entries">Its settings in the file's order.</param>
public sealed record RunConfig(string Verb, IReadOnlyList<ConfigEntry> Entries)
{
    private const int MostCharacters = 1 << 18, MostEntries = 1000;

    /// <summary>Settings of a run that has none that can be read.</summary>
    public static RunConfig Empty { get; } = new("", []);

    /// <summary>The value of a setting, or null.</summary>
    public string? this[string key] => Entries.FirstOrDefault(e => e.Key == key) is { Key: not null, Value.Length: > 0 } entry ? entry.Value : null;

    /// <summary>How many steps the run will have, where its settings say so.</summary>
    public long? TotalSteps =>
        long.TryParse(this["steps"] ?? this["max_steps"], NumberStyles.None, CultureInfo.InvariantCulture, out long steps) ? steps : null;

    /// <summary>Reads a file; one that cannot be read is empty.</summary>
    public static RunConfig Read(string path)
    {
        try
        {
            using var reader = new StreamReader(RegularFile.Open(path));
            var text = new char[Math.Min(MostCharacters, (int)Math.Min(int.MaxValue, new FileInfo(path).Length) + 1)];
            return Parse(new string(text, 0, reader.ReadBlock(text)));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Empty;
        }
    }

    /// <summary>Reads a text as far as it is such a file: what follows a mistake is left out.</summary>
    internal static RunConfig Parse(string text)
    {
        List<ConfigEntry> entries = [];
        try
        {
            Read(new Parser(new Scanner(new StringReader(text), skipComments: false)), entries);
        }
        catch (YamlException)
        {
            // A file that was written by hand, or is being written: what was read so far is shown.
        }
        return new(RunFiles.VerbIn(text), entries);
    }

    private static void Read(Parser parser, List<ConfigEntry> entries)
    {
        string section = "";
        string? key = null;
        List<string>? list = null;
        while (parser.MoveNext() && entries.Count < MostEntries)
            switch (parser.Current)
            {
                case Comment { IsInline: false } comment:
                    section = RunFiles.VerbIn("# " + comment.Value) != "" ? "" : comment.Value.Trim();
                    break;
                case SequenceStart when key is not null && list is null:
                    list = [];
                    break;
                case SequenceEnd when key is not null && list is not null:
                    entries.Add(new(section, key, string.Join(", ", list)));
                    (key, list) = (null, null);
                    break;
                case Scalar item when list is not null:
                    list.Add(item.Value);
                    break;
                case Scalar name when key is null:
                    key = name.Value;
                    break;
                case Scalar value:
                    entries.Add(new(section, key, value is { Style: ScalarStyle.Plain, Value: "null" or "~" } ? "" : value.Value));
                    key = null;
                    break;
                case SequenceStart or AnchorAlias:
                case MappingStart when key is not null:
                    return; // nested: no file of ours
            }
    }
}
