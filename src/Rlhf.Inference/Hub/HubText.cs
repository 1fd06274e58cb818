using System.Globalization;
using System.Text;
using Rlhf.Runtime.Text;

namespace Rlhf.Hub;

/// <summary>Text from a server: cleaned for messages, checked before it becomes a path.</summary>
internal static class HubText
{
    private const int LongestPath = 1024, LongestSegment = 255;

    private static readonly string[] WindowsDevices =
    [
        "CON", "PRN", "AUX", "NUL", "COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8", "COM9", "LPT1", "LPT2",
        "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8", "LPT9",
    ];

    /// <summary>One line without control characters, of bounded length.</summary>
    public static string Clean(string? text) => UntrustedText.Clean(text);

    /// <summary>
    /// Refuses a file's path unless it stays inside the repository's folder on every system: relative, without "..", drives,
    /// alternative streams or names of devices.
    /// </summary>
    /// <exception cref="HubException">It does not.</exception>
    public static string CheckPath(string path)
    {
        bool good = path.Length is > 0 and <= LongestPath && !path.Any(c => char.IsControl(c) || "\\:*?\"<>|".Contains(c))
            && path.Split('/').All(IsPlainName);
        return good ? path : throw new HubException(HubError.Protocol,
            $"The repository holds a file named '{Clean(path)}', which could lead out of its folder; nothing of it was written.");
    }

    private static bool IsPlainName(string name) =>
        name.Length > 0 && Encoding.UTF8.GetByteCount(name) <= LongestSegment && name is not ("." or "..")
        && name[^1] is not (' ' or '.') && !WindowsDevices.Contains(name.Split('.')[0], StringComparer.OrdinalIgnoreCase);

    /// <summary>A size for people, such as 548.1 MB.</summary>
    public static string Size(long bytes) => bytes switch
    {
        >= 1_000_000_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e9:F1} GB"),
        >= 1_000_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:F1} MB"),
        >= 1_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e3:F1} kB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes} bytes"),
    };
}
