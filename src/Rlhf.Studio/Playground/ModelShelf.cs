using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Rewards;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;
using Rlhf.Weights;
using TorchSharp;

namespace Rlhf.Studio.Playground;

/// <summary>A language model with its tokenizer.</summary>
/// <param name="Model">The model.</param>
/// <param name="Tokenizer">Its tokenizer.</param>
/// <param name="Template">Its chat template, or the one for models without; null: there is none.</param>
public sealed record LoadedModel(CausalLM Model, ITokenizer Tokenizer, ChatTemplate? Template);

/// <summary>
/// Models that are loaded when they are first needed and stay for the next time; the adapters of one base share its weights. One caller at a time has them: what is asked for between
/// <see cref="TakeAsync"/> and the end of the turn.
/// </summary>
public sealed class ModelShelf(StudioOptions options) : IDisposable
{
    private const int MostModels = 4, MostAdapters = 16;
    private readonly SemaphoreSlim turn = new(1);
    private readonly Dictionary<string, (LoadedModel Loaded, string? Base, DateTime Written, long Used)> models = [];
    private readonly Dictionary<string, IRewardFunction> rewards = [];
    private torch.Device? device;

    /// <summary>Waits for the models; dispose what is returned to let the next one have them.</summary>
    public async Task<IDisposable> TakeAsync(CancellationToken cancellation)
    {
        await turn.WaitAsync(cancellation);
        return new Turn(turn);
    }

    /// <summary>Is a model of this folder here already?</summary>
    public bool Has(string folder) => models.TryGetValue(folder, out var known) && known.Written == WrittenAt(folder);

    /// <summary>Models that are loaded, without adapters, which share their bases' weights.</summary>
    public int WholeModels => models.Count(m => m.Value.Base is null);

    /// <summary>The model of a folder.</summary>
    /// <exception cref="IOException">A file is not there.</exception>
    /// <exception cref="InvalidDataException">A file is damaged.</exception>
    public LoadedModel Model(string folder)
    {
        var written = WrittenAt(folder);
        if (models.TryGetValue(folder, out var known))
        {
            if (known.Written == written)
            {
                models[folder] = known with { Used = Environment.TickCount64 };
                return known.Loaded;
            }
            Drop(folder);
        }
        string? baseFolder = !AdapterFolder.IsAdapter(folder) ? null : AdapterFolder.GivenBase(folder) ?? throw new InvalidDataException(
            $"{Path.GetFileName(folder)} is an adapter whose base is neither in the runs folder nor the shipped model. Name it: rlhf studio --base-model DIR");
        // The base first: what is dropped for it may be an adapter of it.
        var trunk = baseFolder is null ? null : Model(baseFolder);
        MakeRoom(forAdapter: trunk is not null, keep: baseFolder);
        var tokenizer = AutoTokenizer.FromPretrained(folder);
        TokenizerOf.RequireFit(folder, tokenizer, trunk?.Model.VocabSize ?? ModelShape.Of(folder).VocabSize);
        var loaded = new LoadedModel(
            trunk is null ? AutoModelForCausalLM.FromPretrained(folder, Device) : LoraAdapter.LoadBeside(trunk.Model, folder),
            tokenizer, TemplateOf(folder));
        models[folder] = (loaded, baseFolder, written, Environment.TickCount64);
        return loaded;
    }

    /// <summary>The chat template of a folder, of an adapter that has none its base's, or the one for models without; null where there is none.</summary>
    /// <exception cref="ChatTemplateException">What is named for models without one is not a template.</exception>
    /// <exception cref="InvalidDataException">A tokenizer file is damaged.</exception>
    public ChatTemplate? TemplateOf(string folder) => ChatTemplate.TryFromFolder(folder)
        ?? (AdapterFolder.IsAdapter(folder) && AdapterFolder.GivenBase(folder) is { } trunk ? ChatTemplate.TryFromFolder(trunk) : null)
        ?? (options.ChatTemplate is { } file ? ChatTemplate.FromFile(file, folder) : null);

    /// <summary>The reward of a folder.</summary>
    /// <inheritdoc cref="Model" path="/exception"/>
    public IRewardFunction Reward(string folder) =>
        rewards.TryGetValue(folder, out var known) ? known : rewards[folder] = AutoReward.FromPretrained(folder, Device);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var folder in models.Keys.ToArray())
            Drop(folder);
        foreach (var reward in rewards.Values)
            reward.Dispose();
        rewards.Clear();
        turn.Dispose();
    }

    private torch.Device Device => device ??= options.StartDevice?.Invoke() ?? torch.CPU;

    private void MakeRoom(bool forAdapter, string? keep)
    {
        while (models.Where(m => m.Value.Base is not null == forAdapter && m.Key != keep).ToArray() is var alike
            && alike.Length >= (forAdapter ? MostAdapters : MostModels))
            Drop(alike.MinBy(m => m.Value.Used).Key);
    }

    /// <summary>Frees a model, and before it the adapters that compute with its weights.</summary>
    private void Drop(string folder)
    {
        foreach (var adapter in models.Where(m => m.Value.Base == folder).Select(m => m.Key).ToArray())
            Drop(adapter);
        if (models.Remove(folder, out var old))
            old.Loaded.Model.Dispose();
    }

    // A run that is resumed saves its model anew.
    private static DateTime WrittenAt(string folder) => File.GetLastWriteTimeUtc(
        Path.Combine(folder, AdapterFolder.IsAdapter(folder) ? LoraAdapter.WeightsName : "config.json"));

    private sealed class Turn(SemaphoreSlim turn) : IDisposable
    {
        private int isOver;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref isOver, 1) == 0)
                turn.Release();
        }
    }
}
