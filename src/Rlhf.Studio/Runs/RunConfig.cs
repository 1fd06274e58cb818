using System.Globalization;
using Rlhf.Runs;
using Rlhf.Runtime.Files;

namespace Rlhf.Studio.Runs;

/// <summary>One line of a run's settings.</summary>
/// <param name="Section">The heading that it stands under.</param>
/// <param name="Key">Its name.</param>
/// <param name="Value">Its value as written, without quotes; empty for null.</param>
public readonly record struct ConfigEntry(string Section, string Key, string Value);

/// <summary>A run's config.yaml, which is flat: <c>key: value</c> lines under comments that are headings.</summary>
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

    internal static RunConfig Parse(string text)
    {
        string section = "";
        List<ConfigEntry> entries = [];
        foreach (var raw in text.Split('\n'))
        {
            string line = raw.TrimEnd();
            if (line.StartsWith('#'))
                section = RunFiles.VerbIn(line) != "" ? "" : line.TrimStart('#').Trim();
            else if (line.IndexOf(':') is var colon and > 0 && entries.Count < MostEntries)
                entries.Add(new(section, line[..colon].Trim(), Unquote(line[(colon + 1)..].Trim())));
        }
        return new(RunFiles.VerbIn(text), entries);
    }

    private static string Unquote(string value) =>
        value is "null" or "~" ? ""
        : value.Length >= 2 && value[0] == '"' && value[^1] == '"' ? value[1..^1].Replace("\\\"", "\"").Replace(@"\\", @"\")
        : value.Length >= 2 && value[0] == '\'' && value[^1] == '\'' ? value[1..^1].Replace("''", "'")
        : value;
}
