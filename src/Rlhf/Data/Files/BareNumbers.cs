using System.Text;

namespace Rlhf.Data.Files;

/// <summary>
/// NaN, Infinity and -Infinity are no JSON, but Python writes them. They become texts that no file can hold by itself, so that a column
/// which is read can refuse them and any other may have them.
/// </summary>
internal static class BareNumbers
{
    // A line of a file has no line feed in it, and JSON none in a text.
    private const char Mark = '\n';

    private static readonly string[] Words = ["-Infinity", "Infinity", "NaN"];

    /// <summary>The line with each such word outside of texts as a marked text; null when it has none.</summary>
    public static string? AsTexts(string line)
    {
        StringBuilder? changed = null;
        int copied = 0;
        bool inText = false;
        for (int i = 0; i < line.Length; i++)
        {
            if (inText && line[i] == '\\')
                i++;
            else if (line[i] == '"')
                inText = !inText;
            else if (!inText && line[i] is '-' or 'I' or 'N' && Words.FirstOrDefault(w => string.CompareOrdinal(line, i, w, 0, w.Length) == 0) is { } word)
            {
                (changed ??= new StringBuilder(line.Length + 32)).Append(line, copied, i - copied).Append("\"\\n").Append(word).Append('"');
                i += word.Length - 1;
                copied = i + 1;
            }
        }
        return changed?.Append(line, copied, line.Length - copied).ToString();
    }

    /// <summary>The word that a text stands for, or null.</summary>
    public static string? Word(string text) => text.Length > 1 && text[0] == Mark && Array.IndexOf(Words, text[1..]) >= 0 ? text[1..] : null;
}
