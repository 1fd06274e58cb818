using System.Text;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>Breaks a line at white space, and at hyphens within words, as Python's textwrap does.</summary>
internal static class WordWrapper
{
    public static List<string> Wrap(string line, int width, bool breaksWords, bool breaksAtHyphens)
    {
        var chunks = new Queue<string>(Chunks(line, breaksAtHyphens));
        var lines = new List<string>();
        while (chunks.Count > 0)
        {
            if (lines.Count > 0 && chunks.Peek().All(PyText.IsSpace))
                chunks.Dequeue();
            var current = new StringBuilder();
            int length = 0;
            while (chunks.Count > 0 && length + PyText.Length(chunks.Peek()) <= width)
            {
                length += PyText.Length(chunks.Peek());
                current.Append(chunks.Dequeue());
            }
            if (chunks.Count > 0 && PyText.Length(chunks.Peek()) > width && (breaksWords ? width - length > 0 : length == 0))
            {
                var word = chunks.Dequeue();
                var characters = PyText.Characters(word).ToArray();
                int part = breaksWords ? width - length : characters.Length;
                current.Append(string.Concat(characters.Take(part)));
                if (part < characters.Length)
                    chunks = new([string.Concat(characters.Skip(part)), .. chunks]);
            }
            var text = current.ToString();
            int end = text.Length;
            while (end > 0 && PyText.IsSpace(text[end - 1]))
                end--;
            if (end > 0 || !text.All(PyText.IsSpace) || text.Length == 0 && chunks.Count > 0)
                lines.Add(text[..end]);
        }
        return [.. lines.Where(x => x.Length > 0)];
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
