using System.Text;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>Breaks a line at white space, and at hyphens within words, as Python's textwrap does.</summary>
internal static class WordWrapper
{
    /// <summary>The lines, each at most a number of characters unless a word that may not be broken is longer.</summary>
    public static List<string> Wrap(string line, int width, bool breaksWords, bool breaksAtHyphens)
    {
        var chunks = new Stack<string>(Chunks(line, breaksAtHyphens).Reverse());
        var lines = new List<string>();
        while (chunks.Count > 0)
        {
            if (lines.Count > 0 && PyText.IsSpace(chunks.Peek()[0]))
                chunks.Pop();
            var current = new StringBuilder();
            int length = 0;
            while (chunks.TryPeek(out var chunk) && length + PyText.Length(chunk) <= width)
            {
                length += PyText.Length(chunk);
                current.Append(chunks.Pop());
            }
            if (chunks.TryPeek(out var word) && PyText.Length(word) > width && (breaksWords || length == 0))
            {
                chunks.Pop();
                if (!breaksWords)
                    current.Append(word);
                else
                    Break(word, width, width - length, current, chunks);
            }
            var text = PyText.TrimEnd(current.ToString());
            if (text.Length > 0)
                lines.Add(text);
        }
        return lines;
    }

    /// <summary>Puts the beginning of a long word on the line and the rest, cut into lines' lengths, back.</summary>
    private static void Break(string word, int width, int room, StringBuilder line, Stack<string> chunks)
    {
        var parts = new List<string>();
        for (int i = 0, start = 0, count = 0, most = room; i < word.Length;)
        {
            if (count == most || most == 0)
            {
                parts.Add(word[start..i]);
                (start, count, most) = (i, 0, width);
            }
            i += PyText.Width(word, i);
            count++;
            if (i >= word.Length)
                parts.Add(word[start..]);
        }
        line.Append(parts[0]);
        for (int i = parts.Count - 1; i > 0; i--)
            chunks.Push(parts[i]);
    }

    private static IEnumerable<string> Chunks(string line, bool breaksAtHyphens)
    {
        for (int i = 0; i < line.Length;)
        {
            int start = i;
            bool space = PyText.IsSpace(line[i]);
            while (i < line.Length && PyText.IsSpace(line[i]) == space)
            {
                i++;
                // A hyphen between letters ends a chunk.
                if (!space && breaksAtHyphens && i - start > 1 && line[i - 1] == '-' && char.IsLetter(line[i - 2]) && i < line.Length && char.IsLetter(line[i]))
                    break;
            }
            yield return line[start..i];
        }
    }
}
