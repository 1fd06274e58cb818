using System.Text;

namespace Rlhf.Cli.Terminal;

/// <summary>A terminal or pipe that may go away: what cannot be written any more is dropped, and the work continues.</summary>
/// <param name="inner">Writes there.</param>
/// <param name="status">The line that all of it stands above; null where <paramref name="inner"/> is no terminal.</param>
internal sealed class UnbreakableWriter(TextWriter inner, StatusLine? status = null) : TextWriter
{
    public override Encoding Encoding => inner.Encoding;

    public override void Write(char value) => Try(() => inner.Write(value), value);

    public override void Write(char[] buffer, int index, int count)
    {
        if (count > 0)
            Try(() => inner.Write(buffer, index, count), buffer[index + count - 1]);
    }

    public override void Write(string? value)
    {
        if (value is { Length: > 0 })
            Try(() => inner.Write(value), value[^1]);
    }

    public override void WriteLine(string? value) => Try(() => inner.WriteLine(value), '\n');

    public override void WriteLine() => Try(inner.WriteLine, '\n');

    public override void Flush() => Try(inner.Flush);

    private void Try(Action write, char last)
    {
        if (status is null)
            Try(write);
        else
            status.Above(() => Try(write), endsLine: last == '\n');
    }

    private static void Try(Action write)
    {
        try
        {
            write();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Nobody is left to read it.
        }
    }
}
