using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.RegularExpressions;
using Google.Protobuf;

namespace Rlhf.Tracking.Wandb;

/// <summary>What Weights &amp; Biases shows of a run beside its metrics.</summary>
/// <param name="Project">Project that <c>wandb sync</c> puts the run into.</param>
/// <param name="Name">Name of the run.</param>
public sealed record WandbRun(string Project, string Name)
{
    /// <summary>Settings of the run: string, number, bool or null, by name.</summary>
    public IReadOnlyDictionary<string, object?> Config { get; init; } = new Dictionary<string, object?>();

    /// <summary>The command that made the run; null: none is recorded.</summary>
    public string? Command { get; init; }
}

/// <summary>
/// Writes a run as Weights &amp; Biases does without a network: a folder that <c>wandb sync</c> uploads. Metrics are history rows and the
/// run's summary, distributions are histograms, tables are W&amp;B tables.
/// </summary>
/// <remarks>
/// <para>A row is written when its metrics come, together with the step's tables that came before them; a table that comes later
/// has a row of its own. Each record reaches the operating system at once: what a killed run wrote can be synced.</para>
/// <para>A run that is resumed keeps its id and its folder: rows of later steps and the mark of its end are removed and new ones follow, so
/// that it stays one run. The mark that it was synced is removed too, since there is more to sync.</para>
/// </remarks>
public sealed partial class WandbSink : IMetricSink
{
    private readonly TimeProvider clock;
    private readonly WandbLog log;
    private readonly DateTimeOffset start;
    private readonly SortedDictionary<string, string> latest = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> tables = [];
    private readonly List<string> media = [];
    private long lastNumber, tablesStep;
    private double runtimeBefore, runtime;
    private bool isComplete, isClosed;

    /// <summary>Begins a run, or resumes the newest one.</summary>
    /// <param name="folder">Folder of runs, customarily named wandb; it is made if need be.</param>
    /// <param name="run">What the run is.</param>
    /// <param name="resumeAfterStep">When the run continues from a checkpoint, its step.</param>
    /// <param name="clock">Tells when the run begins; null: the system's clock.</param>
    /// <exception cref="IOException">The files cannot be made.</exception>
    /// <exception cref="UnauthorizedAccessException">The files may not be made.</exception>
    public WandbSink(string folder, WandbRun run, long? resumeAfterStep = null, TimeProvider? clock = null)
    {
        this.clock = clock ?? TimeProvider.System;
        start = this.clock.GetUtcNow();
        var config = run.Config.ToDictionary(c => c.Key, c => ValueJson(c.Value));
        string? earlier = resumeAfterStep is null ? null : Newest(folder);
        RunId = earlier is null ? NewId() : earlier[^8..];
        Folder = earlier ?? Path.Combine(Path.GetFullPath(folder),
            $"offline-run-{start.LocalDateTime.ToString("yyyyMMdd_HHmmss", CultureInfo.InvariantCulture)}-{RunId}");
        Directory.CreateDirectory(Path.Combine(Folder, "files"));
        long kept = 0;
        if (earlier is not null)
        {
            File.Delete(FilePath + ".synced");
            kept = Keep(resumeAfterStep ?? 0);
        }
        if (kept == 0)
            File.Delete(FilePath);
        log = kept == 0 ? WandbLog.Create(FilePath) : WandbLog.Continue(FilePath, kept);
        try
        {
            if (kept == 0)
                Append(n => WandbRecords.OfRun(n, RunId, run.Project, run.Name, start, config));
            Append(n => WandbRecords.OfConfig(n, config));
            WriteFiles(run, config);
        }
        catch
        {
            log.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public string Name => "Weights & Biases";

    /// <summary>Eight letters and digits that W&amp;B knows the run by.</summary>
    public string RunId { get; }

    /// <summary>The run's folder: what to give to <c>wandb sync</c>.</summary>
    public string Folder { get; }

    /// <summary>Path of the transaction log.</summary>
    public string FilePath => Path.Combine(Folder, $"run-{RunId}.wandb");

    /// <inheritdoc/>
    public void Write(MetricRecord record)
    {
        if (tables.Count > 0 && tablesStep != record.Step)
            WriteRow(tablesStep, clock.GetUtcNow(), []);
        var values = record.Scalars.ToDictionary(s => s.Key, s => WandbRecords.Number(s.Value));
        foreach (var (name, distribution) in record.Distributions ?? new Dictionary<string, float[]>())
            if (WandbRecords.Histogram(distribution) is { } histogram)
                values[name] = histogram;
        WriteRow(record.Step, record.Time, values);
    }

    /// <inheritdoc/>
    public void Write(SampleTable table)
    {
        if (tables.Count > 0 && tablesStep != table.Step)
            WriteRow(tablesStep, clock.GetUtcNow(), []);
        var content = WandbRecords.Table(table);
        string hash = Convert.ToHexStringLower(SHA256.HashData(content));
        string path = $"media/table/{FileName().Replace(table.Name, "_")}_{table.Step}_{hash[..20]}.table.json";
        string full = Path.Combine(Folder, "files", path);
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        File.WriteAllBytes(full, content); // nothing names it before it is whole
        tables[table.Name] = JsonSerializer.Serialize(new
        {
            _type = "table-file",
            path,
            sha256 = hash,
            size = content.Length,
            ncols = table.Columns.Count,
            nrows = Math.Min(table.Rows.Count, WandbRecords.MostRows),
            log_mode = "IMMUTABLE",
        });
        media.Add(path);
        tablesStep = table.Step;
    }

    /// <inheritdoc/>
    public void Complete() => isComplete = true;

    /// <summary>Writes how the run ended and closes the files.</summary>
    /// <exception cref="IOException">The disk is full.</exception>
    public void Dispose()
    {
        if (isClosed)
            return;
        isClosed = true;
        using (log)
        {
            if (tables.Count > 0)
                WriteRow(tablesStep, clock.GetUtcNow(), []);
            Append(n => WandbRecords.OfExit(n, isComplete ? 0 : 1, (long)runtime));
        }
        File.WriteAllText(Path.Combine(Folder, "files", "wandb-summary.json"),
            "{" + string.Join(',', latest.Select(v => $"{ValueJson(v.Key)}:{v.Value}")) + "}");
    }

    private void WriteRow(long step, DateTimeOffset time, Dictionary<string, string> values)
    {
        runtime = Math.Max(runtime, runtimeBefore + Math.Max(0, (time - start).TotalSeconds));
        foreach (var (name, table) in tables)
            values[name] = table;
        string[] files = [.. media];
        tables.Clear();
        media.Clear();
        values["_step"] = step.ToString(CultureInfo.InvariantCulture);
        values["_timestamp"] = WandbRecords.Number((time - DateTimeOffset.UnixEpoch).TotalSeconds);
        values["_runtime"] = WandbRecords.Number(runtime);
        Append(n => WandbRecords.OfHistory(n, step, values));
        values["_wandb"] = $"{{\"runtime\":{(long)runtime}}}";
        foreach (var (name, value) in values)
            latest[name] = value;
        Append(n => WandbRecords.OfSummary(n, values));
        if (files.Length > 0)
            Append(n => WandbRecords.OfFiles(n, WandbFileType.Media, files));
    }

    private void Append(Func<long, byte[]> record)
    {
        log.Append(record(lastNumber + 1));
        lastNumber++;
    }

    private void WriteFiles(WandbRun run, Dictionary<string, string> config)
    {
        // JSON is YAML.
        File.WriteAllText(Path.Combine(Folder, "files", "config.yaml"), "wandb_version: 1\n"
            + string.Concat(config.Select(c => $"\n{ValueJson(c.Key)}:\n    desc: null\n    value: {c.Value}\n")));
        File.WriteAllText(Path.Combine(Folder, "files", "wandb-metadata.json"), JsonSerializer.Serialize(new
        {
            os = RuntimeInformation.OSDescription,
            runtime = RuntimeInformation.FrameworkDescription,
            program = "rlhf",
            args = run.Command,
            host = Environment.MachineName,
            cpu_count = Environment.ProcessorCount,
            startedAt = start.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ss.ffffffZ", CultureInfo.InvariantCulture),
        }, WandbRecords.Json));
        Append(n => WandbRecords.OfFiles(n, WandbFileType.Wandb, "config.yaml", "wandb-metadata.json", "wandb-summary.json"));
    }

    /// <summary>How much of an earlier log stays: up to the last record of a step that counts; 0 where there is no whole one.</summary>
    private long Keep(long step)
    {
        long kept = 0;
        if (!File.Exists(FilePath))
            return 0;
        foreach (var (record, end) in WandbLog.Read(FilePath))
        {
            (long Number, long? Step, double? Runtime, bool IsExit) known;
            try
            {
                known = WandbRecords.Peek(record);
            }
            catch (InvalidProtocolBufferException)
            {
                break;
            }
            if (known.IsExit || known.Step > step)
                break;
            (lastNumber, kept) = (known.Number, end);
            runtimeBefore = known.Runtime ?? runtimeBefore;
        }
        runtime = runtimeBefore;
        return kept;
    }

    private static string? Newest(string folder) => !Directory.Exists(folder) ? null
        : Directory.GetDirectories(Path.GetFullPath(folder), "offline-run-*").Where(d => RunFolderName().IsMatch(Path.GetFileName(d)))
            .Max(StringComparer.Ordinal);

    private static string NewId() => RandomNumberGenerator.GetString("abcdefghijklmnopqrstuvwxyz0123456789", 8);

    private static string ValueJson(object? value) => value switch
    {
        float number => WandbRecords.Number(number),
        double number => WandbRecords.Number(number),
        _ => JsonSerializer.Serialize(value, WandbRecords.Json),
    };

    [GeneratedRegex(@"^offline-run-\d{8}_\d{6}-[a-z0-9]{8}$")]
    private static partial Regex RunFolderName();

    [GeneratedRegex(@"[^A-Za-z0-9_.-]")]
    private static partial Regex FileName();
}
