using System.Diagnostics;

namespace Rlhf.Training.Loop;

/// <summary>The seconds of a step's phases; the step begins.</summary>
/// <param name="algorithm">Name of the algorithm, which the metrics bear: time/ppo/….</param>
internal sealed class StepWatch(string algorithm)
{
    private string Prefix => $"time/{algorithm}/";

    private readonly Dictionary<string, double> seconds = [];
    private readonly long start = Stopwatch.GetTimestamp();
    private long phase = Stopwatch.GetTimestamp(), part;

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

    /// <summary>Seconds of all phases so far, and of the step under total.</summary>
    public IReadOnlyDictionary<string, double> Seconds()
    {
        seconds[Prefix + "total"] = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return seconds;
    }
}
