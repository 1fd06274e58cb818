namespace Rlhf.Tracking;

/// <summary>
/// Writes TensorBoard event files: scalars under their own names, distributions as histograms, and sample tables as text, which
/// TensorBoard shows as a table. Each write reaches the operating system at once, so a running TensorBoard follows along.
/// </summary>
public sealed class TensorBoardSink : IMetricSink
{
    private static int files;
    private readonly FileStream stream;
    private readonly TimeProvider clock;

    /// <summary>Begins a new event file <c>events.out.tfevents.*</c> in a folder, which is made if need be.</summary>
    /// <param name="folder">The run's folder; TensorBoard names the run after it.</param>
    /// <param name="resumeAfterStep">
    /// When the run continues from a checkpoint, its step: TensorBoard then hides what earlier files say about later steps.
    /// </param>
    /// <param name="clock">Tells the time of tables and of the file itself; null: the system's clock.</param>
    /// <exception cref="IOException">The file cannot be made.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be made.</exception>
    public TensorBoardSink(string folder, long? resumeAfterStep = null, TimeProvider? clock = null)
    {
        this.clock = clock ?? TimeProvider.System;
        Directory.CreateDirectory(folder);
        var now = this.clock.GetUtcNow();
        var name = string.Join('.', "events.out.tfevents", now.ToUnixTimeSeconds(), Environment.MachineName,
            Environment.ProcessId, Interlocked.Increment(ref files));
        stream = new FileStream(
            Path.Combine(folder, name), FileMode.CreateNew, FileAccess.Write, FileShare.Read | FileShare.Delete, bufferSize: 0);
        Append(TensorBoardEvents.FileVersion(now));
        if (resumeAfterStep is { } step)
            Append(TensorBoardEvents.SessionStart(now, step + 1));
    }

    /// <inheritdoc/>
    public string Name => "TensorBoard";

    /// <summary>Path of the event file.</summary>
    public string FilePath => stream.Name;

    /// <inheritdoc/>
    public void Write(MetricRecord record)
    {
        var values = record.Scalars.Select(scalar => TensorBoardEvents.Scalar(scalar.Key, scalar.Value)).ToList();
        foreach (var (name, distribution) in record.Distributions ?? new Dictionary<string, float[]>())
            if (TensorBoardEvents.Histogram(name, distribution) is { } histogram)
                values.Add(histogram);
        Append(TensorBoardEvents.Summary(record.Time, record.Step, values));
    }

    /// <inheritdoc/>
    public void Write(SampleTable table) =>
        Append(TensorBoardEvents.Summary(clock.GetUtcNow(), table.Step, [TensorBoardEvents.Table(table)]));

    /// <inheritdoc/>
    public void Dispose() => stream.Dispose();

    private void Append(byte[] message)
    {
        long end = stream.Length;
        try
        {
            stream.Write(TensorBoardEvents.Frame(message));
        }
        catch (IOException)
        {
            stream.SetLength(end); // after half a record no reader finds the next one
            stream.Position = end;
            throw;
        }
    }
}
