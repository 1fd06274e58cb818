using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Rlhf.Runtime.Text;

/// <summary>
/// Text from files and servers as a message may show it: it reaches terminals and logs, which obey control characters.
/// </summary>
internal static class UntrustedText
{
    private const int LongestShown = 200;

    /// <summary>One line without control or invisible direction characters, cut to a sane length.</summary>
    public static string Clean(string? text, int longest = LongestShown)
    {
        var clean = new StringBuilder();
        foreach (var rune in (text ?? "").EnumerateRunes())
        {
            if (clean.Length >= longest)
                return clean.Append('…').ToString().TrimStart();
            clean.Append(IsShown(rune) ? rune.ToString() : " ");
        }
        return clean.ToString().Trim();
    }

    /// <summary>The same between quotation marks.</summary>
    public static string Quote(string? text, int longest = LongestShown) => $"\"{Clean(text, longest)}\"";

    /// <summary>Where a file stops being JSON. The library's own message quotes the file.</summary>
    public static string Place(JsonException error) =>
        $"line {error.LineNumber + 1}, byte {error.BytePositionInLine + 1}"
        + (error.InnerException is InvalidOperationException ? ", a text is not valid Unicode" : "");

    private static bool IsShown(Rune rune) => Rune.GetUnicodeCategory(rune) is not (
        UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator);
}
