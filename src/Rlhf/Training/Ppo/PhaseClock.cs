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

    /// <summary>Adds the time since a moment to a part of a phase.</summary>
    /// <returns>Now, the moment at which the next part begins.</returns>
    public long Add(string part, long since)
    {
        long now = Stopwatch.GetTimestamp();
        seconds[part] = seconds.GetValueOrDefault(part) + Stopwatch.GetElapsedTime(since, now).TotalSeconds;
        return now;
    }

    /// <summary>All phases so far, and the time since the first began under <paramref name="name"/>.</summary>
    public IReadOnlyDictionary<string, double> Total(string name)
    {
        seconds[name] = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return seconds;
    }
}
