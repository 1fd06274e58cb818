namespace Rlhf.Cli.Terminal;

/// <summary>The process' two outputs as they were at its start.</summary>
internal static class Terminals
{
    /// <summary>Standard output, beside the status line.</summary>
    public static TextWriter Out { get; private set; } = TextWriter.Null;

    /// <summary>Standard error, beside the status line.</summary>
    public static TextWriter Error { get; private set; } = TextWriter.Null;

    /// <summary>Lets everything that is written from now on outlive its reader, and stand above the status line of a terminal.</summary>
    public static void Wrap()
    {
        (Out, Error) = (new UnbreakableWriter(Console.Out), new UnbreakableWriter(Console.Error));
        Console.SetOut(new UnbreakableWriter(Console.Out, Console.IsOutputRedirected ? null : StatusLine.OfProcess));
        Console.SetError(new UnbreakableWriter(Console.Error, Console.IsErrorRedirected ? null : StatusLine.OfProcess));
    }
}
