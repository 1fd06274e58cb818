using System.Globalization;
using Rlhf.Runtime;
using Rlhf.Runtime.Files;

namespace Rlhf.Training.Checkpoints;

/// <summary>
/// The checkpoints of one run, each in a folder <c>checkpoint-STEP</c>. A checkpoint is written under another name, forced to the
/// disk and renamed, so that a process killed at any moment leaves the earlier ones whole. Not for several processes at once.
/// </summary>
/// <param name="folder">Where they lie; made with the first.</param>
public sealed class CheckpointStore(string folder)
{
    private const string Prefix = "checkpoint-", Unfinished = ".unfinished-", SetAsideMark = "set-aside-";

    /// <summary>Where they lie.</summary>
    public string Folder => folder;

    /// <summary>How many of the newest stay; the one with the best score stays as well. At least 1, 2 by default.</summary>
    public int KeepLast { get; init; } = 2;

    /// <summary>Fingerprints of the models and data of the run, by name; a run resumes only with the same ones.</summary>
    public IReadOnlyDictionary<string, string> Inputs { get; init; } = new Dictionary<string, string>();

    /// <summary>
    /// Saves a trainer between two steps, then removes what <see cref="KeepLast"/> does not keep. On failure the earlier checkpoints stay
    /// as they were.
    /// </summary>
    /// <param name="trainer">The trainer.</param>
    /// <param name="saveModel">Writes the model in float32, with its tokenizer, into the folder that it is given.</param>
    /// <param name="score">How good the run is now, larger is better; null: not known.</param>
    /// <param name="elapsed">Time that the run has taken.</param>
    /// <param name="keepAll">Remove none, such as when the run has failed and an earlier one may be the last good one.</param>
    /// <exception cref="InvalidOperationException">The trainer is in the middle of a step.</exception>
    /// <exception cref="TrainingDivergedException">The model does not compute finite numbers any more
    /// (<see cref="IResumable.IsUsable"/>); nothing was written or removed.</exception>
    /// <exception cref="IOException">The disk is full, or a file cannot be written; or the checkpoint is saved and an earlier one could not
    /// be removed, as the message then says.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public Checkpoint Save(
        IResumable trainer, Action<string> saveModel, double? score = null, TimeSpan elapsed = default, bool keepAll = false)
    {
        Directory.CreateDirectory(folder);
        if (!trainer.IsBetweenSteps)
            throw new InvalidOperationException(
                "A step failed after some of its updates; a run cannot go on from there. Save between two steps.");
        ModelCheck.RequireUsable(trainer);
        string target = PathOf(trainer.StepCount), writing = Path.Combine(folder, Unfinished + Path.GetFileName(target));
        RemoveUnfinished();
        try
        {
            Directory.CreateDirectory(writing);
            Checkpoint.Write(writing, trainer, saveModel, Inputs, elapsed);
            CheckpointManifest.Of(writing, trainer.StepCount, score).Save(writing);
            DurableFolder.Flush(writing);
            if (Directory.Exists(target))
                Remove(target);
            Directory.Move(writing, target);
            DurableFolder.Flush(folder);
        }
        catch
        {
            RemoveUnfinished();
            throw;
        }
        var saved = new Checkpoint(target, trainer.StepCount, score);
        if (!keepAll)
            Rotate();
        return saved;
    }

    /// <summary>Removes all checkpoints but the newest <see cref="KeepLast"/> and the one with the best score.</summary>
    /// <param name="keep">The step of another one that stays; null: none.</param>
    /// <exception cref="IOException">One cannot be removed; the message names it.</exception>
    public void Rotate(long? keep = null)
    {
        var all = List();
        string? best = BestOf(all)?.Folder;
        foreach (var old in all.Skip(Math.Max(1, KeepLast)).Where(c => c.Folder != best && c.Step != keep))
            try
            {
                Remove(old.Folder);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new IOException($"{old.Folder} is not needed any more and could not be removed: {e.Message}", e);
            }
    }

    /// <summary>The folder of a step's checkpoint, whether it is there or not.</summary>
    public string PathOf(long step) => Path.Combine(folder, Prefix + step.ToString(CultureInfo.InvariantCulture));

    /// <summary>The checkpoints that have a readable manifest, the newest first. Their files have not been compared with it yet.</summary>
    public IReadOnlyList<Checkpoint> List() => [.. Folders().Select(TryOpen).OfType<Checkpoint>().OrderByDescending(c => c.Step)];

    /// <summary>The one with the best score, or null.</summary>
    public Checkpoint? Best => BestOf(List());

    /// <summary>
    /// Brings a trainer to the newest checkpoint that is whole. Those that are damaged are reported and renamed.
    /// </summary>
    /// <param name="trainer">A trainer made from the same settings, data and first model.</param>
    /// <param name="damaged">Told each checkpoint that could not be used, and why.</param>
    /// <param name="atMost">Use none of a later step; those are set aside too.</param>
    /// <returns>The checkpoint and the time that the run had taken, or null when there is none: the trainer is then as it was.</returns>
    /// <exception cref="ConfigurationException">The models or data of the run have changed.</exception>
    public (Checkpoint Checkpoint, TimeSpan Elapsed)? Restore(
        IResumable trainer, Action<string, string>? damaged = null, long atMost = long.MaxValue)
    {
        RemoveUnfinished();
        foreach (var path in Folders().OrderByDescending(StepOf))
        {
            if (StepOf(path) > atMost)
            {
                SetAside(path);
                continue;
            }
            var checkpoint = new Checkpoint(path, StepOf(path), TryOpen(path)?.Score);
            CheckpointState state;
            try
            {
                state = checkpoint.Check(trainer, Inputs);
                checkpoint.TakeNumbers(trainer, state);
            }
            catch (Exception e) when (e is InvalidDataException or IOException or UnauthorizedAccessException)
            {
                damaged?.Invoke(path, e.Message);
                SetAside(path);
                continue;
            }
            checkpoint.TakeTensors(trainer);
            return (checkpoint, state.Elapsed);
        }
        return null;
    }

    /// <summary>The step in a checkpoint folder's name, or -1.</summary>
    public static long StepOf(string path) => Path.GetFileName(path) is var name && name.StartsWith(Prefix, StringComparison.Ordinal)
        && long.TryParse(name.AsSpan(Prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out long step) ? step : -1;

    private IEnumerable<string> Folders() =>
        Directory.Exists(folder) ? Directory.EnumerateDirectories(folder).Where(path => StepOf(path) >= 0) : [];

    private static Checkpoint? TryOpen(string path)
    {
        try
        {
            var manifest = CheckpointManifest.Load(path);
            return new(path, manifest.Step, manifest.Score);
        }
        catch (Exception e) when (e is InvalidDataException or IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static Checkpoint? BestOf(IReadOnlyList<Checkpoint> checkpoints) =>
        checkpoints.Where(c => c.Score is { } score && !double.IsNaN(score)).MaxBy(c => c.Score);

    /// <summary>Renames first, so that a process killed meanwhile leaves nothing that looks like a checkpoint.</summary>
    private void Remove(string path)
    {
        string leaving = Path.Combine(folder, Unfinished + "removed-" + Path.GetFileName(path));
        if (Directory.Exists(leaving))
            Directory.Delete(leaving, recursive: true);
        Directory.Move(path, leaving);
        Directory.Delete(leaving, recursive: true);
    }

    private void SetAside(string path)
    {
        string name = SetAsideMark + Path.GetFileName(path), aside = Path.Combine(folder, name);
        for (int n = 2; Path.Exists(aside); n++)
            aside = Path.Combine(folder, $"{name}-{n}");
        Directory.Move(path, aside);
    }

    private void RemoveUnfinished()
    {
        foreach (var path in Directory.Exists(folder) ? Directory.GetDirectories(folder, Unfinished + "*") : [])
            Directory.Delete(path, recursive: true);
    }
}
