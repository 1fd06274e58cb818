using System.Globalization;
using System.Text.RegularExpressions;
using Rlhf.Runs;
using Rlhf.Runtime.Files;

namespace Rlhf.Studio.Runs;

/// <summary>The process that a run's folder names as the one that has it. Whether that is still so is another question.</summary>
/// <param name="ProcessId">Its number.</param>
/// <param name="Machine">The machine that it runs on.</param>
/// <param name="Since">When it took the folder, as it wrote it.</param>
public sealed partial record RunHolder(int ProcessId, string Machine, string Since)
{
    private const int MostCharacters = 300;

    /// <summary>Does it run here?</summary>
    public bool IsHere => Machine == Environment.MachineName;

    /// <summary>Reads a run's <c>.lock-owner</c>; null where it is not there or says something else.</summary>
    /// <param name="folder">The run's folder.</param>
    public static RunHolder? Read(string folder)
    {
        try
        {
            using var reader = new StreamReader(RegularFile.Open(Path.Combine(folder, RunFiles.LockOwner)));
            var text = new char[MostCharacters];
            return Parse(new string(text, 0, reader.ReadBlock(text)));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    internal static RunHolder? Parse(string text) => Line().Match(text) is { Success: true } line
        && int.TryParse(line.Groups[1].Value, NumberStyles.None, CultureInfo.InvariantCulture, out int id) && id > 1
        ? new(id, line.Groups[2].Value, line.Groups[3].Value.Trim()) : null;

    [GeneratedRegex(@"^process (\d+) on (\S+) since ([^\n]*)")]
    private static partial Regex Line();
}
