using System.Diagnostics;

namespace Rlhf.Training.Ppo;

/// <summary>Watches a step: the seconds of its phases, and the guards against divergence.</summary>
/// <param name="guards">The run's guards; a step begins.</param>
internal sealed class StepWatch(PpoGuards guards)
{
    private const string Prefix = "time/ppo/";

    private readonly Dictionary<string, double> seconds = [];
    private readonly long start = Stopwatch.GetTimestamp();
    private long phase = Stopwatch.GetTimestamp(), part;

    /// <summary>What looks like divergence.</summary>
    public PpoGuards Guards => guards;

    /// <summary>Ends a phase that began when the one before it ended.</summary>
    public void Done(string name)
    {
        seconds[Prefix + name] = Stopwatch.GetElapsedTime(phase).TotalSeconds;
        phase = Stopwatch.GetTimestamp();
    }

    /// <summary>A part of a phase that comes several times begins.</summary>
    public void BeginPart() => part = Stopwatch.GetTimestamp();

    /// <summary>Adds the time since the last part ended or began; the next one begins.</summary>
    public void PartDone(string name)
    {
        seconds[Prefix + name] = seconds.GetValueOrDefault(Prefix + name) + Stopwatch.GetElapsedTime(part).TotalSeconds;
        part = Stopwatch.GetTimestamp();
    }

    /// <summary>Seconds of all phases so far, and of the step under time/ppo/total.</summary>
    public IReadOnlyDictionary<string, double> Seconds()
    {
        seconds[Prefix + "total"] = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return seconds;
    }
}
