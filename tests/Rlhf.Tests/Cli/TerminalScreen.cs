using System.Text;

namespace Rlhf.Tests.Cli;

/// <summary>
/// What a terminal shows of the characters that it gets: as much of ECMA-48 as programs that draw lines use. What it does not know fails.
/// Nothing scrolls away.
/// </summary>
public sealed class TerminalScreen(int width)
{
    private readonly List<StringBuilder> rows = [new()];
    private readonly HashSet<int> wrapped = [];
    private readonly StringBuilder sequence = new();
    private int row, column;

    public IEnumerable<string> Lines => rows.Select(r => r.ToString().TrimEnd());

    /// <summary>Lines that were too long for the terminal, which broke them.</summary>
    public IEnumerable<string> Wrapped => wrapped.Order().Select(r => rows[r].ToString());

    /// <summary>All lines, those that the terminal broke as one.</summary>
    public override string ToString() =>
        string.Concat(rows.Select((r, i) => wrapped.Contains(i) ? r.ToString() : r.ToString().TrimEnd() + "\n"));

    public void Write(ReadOnlySpan<char> text)
    {
        foreach (char c in text)
            if (sequence.Length > 0)
                Continue(c);
            else if (c == '\u001b')
                sequence.Append(c);
            else if (c == '\r')
                column = 0;
            else if (c == '\n')
                MoveTo(row + 1);
            else if (c == '\b')
                column = Math.Max(0, column - 1);
            else if (c >= ' ')
                Put(c);
            else if (c != '\u0007')
                Assert.Fail($"The control character {(int)c:x2} came.");
    }

    private void Put(char c)
    {
        if (column == width)
        {
            wrapped.Add(row);
            MoveTo(row + 1);
            column = 0;
        }
        var line = rows[row];
        while (line.Length <= column)
            line.Append(' ');
        line[column++] = c;
    }

    private void MoveTo(int to)
    {
        row = Math.Max(0, to);
        while (rows.Count <= row)
            rows.Add(new());
    }

    private void Continue(char c)
    {
        sequence.Append(c);
        string s = sequence.ToString();
        bool isCommand = s.StartsWith("\u001b[", StringComparison.Ordinal), isTitle = s.StartsWith("\u001b]", StringComparison.Ordinal);
        if (s.Length == 2 && (isCommand || isTitle || c is '(' or ')') || isCommand && c is (>= '0' and <= '9') or ';' or '?'
            || isTitle && c != '\u0007')
            return;
        sequence.Clear();
        if (!isCommand)
            return; // keypad modes, character sets, titles
        int n = int.TryParse(s[2..^1], out int number) ? number : 0;
        int move = Math.Max(1, n);
        switch (c)
        {
            case 'm' or 'h' or 'l': // colors, modes
                break;
            case 'A':
                MoveTo(row - move);
                break;
            case 'B':
                MoveTo(row + move);
                break;
            case 'C':
                column = Math.Min(width - 1, column + move);
                break;
            case 'D':
                column = Math.Max(0, column - move);
                break;
            case 'G':
                column = move - 1;
                break;
            case 'K' when n == 0:
                rows[row].Length = Math.Min(rows[row].Length, column);
                wrapped.Remove(row);
                break;
            case 'K' when n == 2:
                rows[row].Clear();
                wrapped.Remove(row);
                break;
            default:
                Assert.Fail($"The terminal does not know ESC{s[1..]}.");
                break;
        }
    }
}
