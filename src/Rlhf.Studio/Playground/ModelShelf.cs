using Rlhf.Generation;
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
public sealed record LoadedModel(CausalLM Model, ITokenizer Tokenizer, ChatTemplate? Template)
{
    /// <summary>Writes texts with it for all who ask, together.</summary>
    public TextCompleter Completer { get; } = new(Model, Tokenizer);
}

/// <summary>
/// Models that are loaded when they are first needed and stay for the next time; the adapters of one base share its weights. A model is
/// borrowed, and stays until it is given back, whatever becomes of its place here. The playground's answers take turns (<see cref="TakeAsync"/>).
/// </summary>
public sealed class ModelShelf(StudioOptions options) : IDisposable
{
    private const int MostModels = 4, MostAdapters = 16;
    private readonly SemaphoreSlim turn = new(1);
    private readonly Lock gate = new();
    private readonly Dictionary<string, Place> models = [];
    private readonly Dictionary<string, IRewardFunction> rewards = [];
    private torch.Device? device;

    /// <summary>Waits for the playground's turn; dispose what is returned to let the next one have it.</summary>
    public async Task<IDisposable> TakeAsync(CancellationToken cancellation)
    {
        await turn.WaitAsync(cancellation);
        return new Ending(() => turn.Release());
    }

    /// <summary>Is a model of this folder here already?</summary>
    public bool Has(string folder)
    {
        lock (gate)
            return models.TryGetValue(folder, out var known) && known.Written == WrittenAt(folder);
    }

    /// <summary>Models that are loaded, without adapters, which share their bases' weights.</summary>
    public int WholeModels
    {
        get
        {
            lock (gate)
                return models.Count(m => m.Value.Base is null);
        }
    }

    /// <summary>Borrows the model of a folder; dispose the loan to give it back.</summary>
    /// <exception cref="IOException">A file is not there.</exception>
    /// <exception cref="InvalidDataException">A file is damaged.</exception>
    public (LoadedModel Model, IDisposable Loan) Lend(string folder)
    {
        lock (gate)
        {
            var place = PlaceOf(folder);
            place.Users++;
            return (place.Loaded, new Ending(() => GiveBack(place)));
        }
    }

    /// <summary>The chat template of a folder, of an adapter that has none its base's, or the one for models without; null where there is none.</summary>
    /// <exception cref="ChatTemplateException">What is named for models without one is not a template.</exception>
    /// <exception cref="InvalidDataException">A tokenizer file is damaged.</exception>
    public ChatTemplate? TemplateOf(string folder) => ChatTemplate.TryFromFolder(folder)
        ?? (AdapterFolder.IsAdapter(folder) && AdapterFolder.GivenBase(folder) is { } trunk ? ChatTemplate.TryFromFolder(trunk) : null)
        ?? (options.ChatTemplate is { } file ? ChatTemplate.FromFile(file, folder) : null);

    /// <summary>The reward of a folder.</summary>
    /// <inheritdoc cref="Lend" path="/exception"/>
    public IRewardFunction Reward(string folder) =>
        rewards.TryGetValue(folder, out var known) ? known : rewards[folder] = AutoReward.FromPretrained(folder, Device);

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (gate)
            foreach (var folder in models.Keys.ToArray())
                Drop(folder);
        foreach (var reward in rewards.Values)
            reward.Dispose();
        rewards.Clear();
        turn.Dispose();
    }

    private torch.Device Device => device ??= options.StartDevice?.Invoke() ?? torch.CPU;

    private Place PlaceOf(string folder)
    {
        var written = WrittenAt(folder);
        if (models.TryGetValue(folder, out var known))
        {
            if (known.Written == written)
            {
                known.Used = Environment.TickCount64;
                return known;
            }
            Drop(folder);
        }
        string? baseFolder = !AdapterFolder.IsAdapter(folder) ? null : AdapterFolder.GivenBase(folder) ?? throw new InvalidDataException(
            $"{Path.GetFileName(folder)} is an adapter whose base is neither in the runs folder nor the shipped model. Name it: rlhf studio --base-model DIR");
        // The base first: what is dropped for it may be an adapter of it.
        var trunk = baseFolder is null ? null : PlaceOf(baseFolder);
        MakeRoom(forAdapter: trunk is not null, keep: baseFolder);
        var tokenizer = AutoTokenizer.FromPretrained(folder);
        TokenizerOf.RequireFit(folder, tokenizer, trunk?.Loaded.Model.VocabSize ?? ModelShape.Of(folder).VocabSize);
        var loaded = new LoadedModel(
            trunk is null ? AutoModelForCausalLM.FromPretrained(folder, Device) : LoraAdapter.LoadBeside(trunk.Loaded.Model, folder),
            tokenizer, TemplateOf(folder));
        if (trunk is not null)
            trunk.Users++;
        return models[folder] = new(loaded, baseFolder, trunk, written) { Used = Environment.TickCount64 };
    }

    private void MakeRoom(bool forAdapter, string? keep)
    {
        while (models.Where(m => m.Value.Base is not null == forAdapter && m.Key != keep).ToArray() is var alike
            && alike.Length >= (forAdapter ? MostAdapters : MostModels))
            Drop(alike.MinBy(m => m.Value.Used).Key);
    }

    /// <summary>Lets go of a model, and before it of the adapters that compute with its weights.</summary>
    private void Drop(string folder)
    {
        foreach (var adapter in models.Where(m => m.Value.Base == folder).Select(m => m.Key).ToArray())
            Drop(adapter);
        if (models.Remove(folder, out var old))
            GiveBack(old);
    }

    /// <summary>Frees a model that nobody uses any more: neither this shelf, nor a borrower, nor an adapter.</summary>
    private void GiveBack(Place place)
    {
        lock (gate)
            if (--place.Users > 0)
                return;
        place.Loaded.Completer.Dispose();
        place.Loaded.Model.Dispose();
        if (place.Trunk is not null)
            GiveBack(place.Trunk);
    }

    // A run that is resumed saves its model anew.
    private static DateTime WrittenAt(string folder) => File.GetLastWriteTimeUtc(
        Path.Combine(folder, AdapterFolder.IsAdapter(folder) ? LoraAdapter.WeightsName : "config.json"));

    /// <summary>A model on the shelf.</summary>
    private sealed record Place(LoadedModel Loaded, string? Base, Place? Trunk, DateTime Written)
    {
        public long Used { get; set; }

        /// <summary>The shelf, borrowers, and adapters of it.</summary>
        public int Users { get; set; } = 1;
    }

    private sealed class Ending(Action end) : IDisposable
    {
        private int isOver;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref isOver, 1) == 0)
                end();
        }
    }
}
