namespace Rlhf.Cli.Terminal;

/// <summary>
/// The last line of a terminal, which is drawn anew while work proceeds. Whatever else the process writes to the terminal goes through
/// <see cref="Above"/>: it stands above that line, whole, and is never drawn over.
/// </summary>
internal sealed class StatusLine
{
    private const string EraseLine = "\r\u001b[K";
    private readonly Lock gate = new();
    private TextWriter? terminal;
    private string text = "";
    private bool isDrawn, isMidLine;

    /// <summary>That of the terminal that the process runs in.</summary>
    public static StatusLine OfProcess { get; } = new();

    /// <summary>Does it stand on the terminal now?</summary>
    public bool IsDrawn
    {
        get
        {
            lock (gate)
                return isDrawn;
        }
    }

    /// <summary>Shows a line in place of the one before.</summary>
    /// <param name="writer">Writes to the terminal itself, not through <see cref="Above"/>.</param>
    /// <param name="line">What to show, with its colors; it fits the terminal's width.</param>
    public void Show(TextWriter writer, string line)
    {
        lock (gate)
        {
            (terminal, text) = (writer, line);
            if (!isMidLine)
                Draw();
        }
    }

    /// <summary>Leaves what is shown where it stands; what follows begins below it.</summary>
    public void End()
    {
        lock (gate)
        {
            if (isDrawn)
                terminal!.WriteLine();
            (terminal, isDrawn) = (null, false);
        }
    }

    /// <summary>Writes to the terminal above the line.</summary>
    /// <param name="write">Writes.</param>
    /// <param name="endsLine">Does it end with a line break? Until something does, the line is not drawn.</param>
    public void Above(Action write, bool endsLine)
    {
        lock (gate)
        {
            if (isDrawn)
                terminal!.Write(EraseLine);
            isDrawn = false;
            write();
            isMidLine = !endsLine;
            if (terminal is not null && !isMidLine)
                Draw();
        }
    }

    private void Draw()
    {
        terminal!.Write(isDrawn ? EraseLine + text : text);
        terminal.Flush();
        isDrawn = true;
    }
}
