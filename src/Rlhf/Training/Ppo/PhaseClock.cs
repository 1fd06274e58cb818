using System.Diagnostics;

namespace Rlhf.Training.Ppo;

/// <summary>Seconds per phase of a step.</summary>
internal sealed class PhaseClock
{
    private readonly Dictionary<string, double> seconds = [];
    private readonly long start = Stopwatch.GetTimestamp();
    private long last = Stopwatch.GetTimestamp();

    /// <summary>Ends a phase that began when the one before it ended.</summary>
    public void Finish(string phase)
    {
        seconds[phase] = Stopwatch.GetElapsedTime(last).TotalSeconds;
        last = Stopwatch.GetTimestamp();
    }

    /// <summary>All phases so far, and the time since the first began under <paramref name="name"/>.</summary>
    public IReadOnlyDictionary<string, double> Total(string name)
    {
        seconds[name] = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return seconds;
    }
}
