using System.Runtime.InteropServices;
using Rlhf.Runtime.Native;

namespace Rlhf.Cli.Terminal;

/// <summary>
/// Turns Ctrl-C and SIGTERM into a request to stop after the current step; a second one ends the process at once.
/// </summary>
internal sealed class Interruption : IDisposable
{
    private readonly CancellationTokenSource source = new();
    private readonly List<PosixSignalRegistration> registrations;

    private readonly string message;

    /// <param name="hasSteps">Does what is interrupted go step by step, and save?</param>
    public Interruption(bool hasSteps)
    {
        message = hasSteps ? "Stopping after the current step; press Ctrl-C again to quit without saving."
            : "Stopping; press Ctrl-C again to quit at once.";
        registrations =
            [PosixSignalRegistration.Create(PosixSignal.SIGINT, Handle), PosixSignalRegistration.Create(PosixSignal.SIGTERM, Handle)];
    }

    /// <summary>
    /// From now on the process outlives its terminal, as under nohup: a training run of hours does not end with a lost connection.
    /// </summary>
    public void OutliveTerminal() =>
        registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGHUP, context => context.Cancel = true));

    /// <summary>
    /// Takes Ctrl-C for itself while it returns true, as a conversation does to stop an answer; null: none does. SIGTERM always stops.
    /// </summary>
    public Func<bool>? Taker { get; set; }

    /// <summary>Cancelled by the first signal.</summary>
    public CancellationToken Token => source.Token;

    private void Handle(PosixSignalContext context)
    {
        if (context.Signal == PosixSignal.SIGINT && Taker?.Invoke() == true)
        {
            context.Cancel = true;
            return;
        }
        if (source.IsCancellationRequested)
        {
            StatusLine.OfProcess.End();
            Console.Out.Flush();
            ProcessEnd.Now(ExitCode.Interrupted);
        }
        context.Cancel = true;
        // Below the ^C of the terminal, unless that goes with the status line.
        Console.Error.WriteLine(StatusLine.OfProcess.IsDrawn ? message : "\n" + message);
        source.Cancel();
    }

    public void Dispose()
    {
        foreach (var registration in registrations)
            registration.Dispose();
        source.Dispose();
    }
}
