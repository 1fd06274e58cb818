using System.Collections.Concurrent;
using System.Text;
using Rlhf.Hub;

namespace Rlhf.Tests.Hub;

/// <summary>A clock on which every wait is over at once, and remembered.</summary>
internal sealed class InstantTime : TimeProvider
{
    public ConcurrentQueue<TimeSpan> Waits { get; } = new();

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        if (dueTime <= TimeSpan.Zero)
            return base.CreateTimer(callback, state, dueTime, period);
        Waits.Enqueue(dueTime);
        return base.CreateTimer(callback, state, TimeSpan.FromMilliseconds(1), period);
    }
}

/// <summary>A server, an empty cache and a client between them. At the end the server must have seen nothing wrong.</summary>
public abstract class HubTestBase : IDisposable
{
    private protected const string Id = "org/toy", Path = "models/org/toy";

    private readonly Fixtures.TemporaryFolder folder = new();

    private protected HubServer Server { get; } = new();

    private protected InstantTime Time { get; } = new();

    private protected string Folder => folder.Path;

    private protected string CacheFolder => System.IO.Path.Combine(Folder, "hub");

    private protected HubOptions Options => new()
    {
        Endpoint = Server.Endpoint,
        CacheFolder = CacheFolder,
        TimeProvider = Time,
        EtagTimeout = TimeSpan.FromMinutes(5),
        DownloadTimeout = TimeSpan.FromMinutes(5),
    };

    private protected static byte[] Text(string text) => Encoding.UTF8.GetBytes(text);

    private protected static byte[] Random(int length, int seed = 1)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private protected static Dictionary<string, byte[]> ModelFiles() => new()
    {
        ["config.json"] = Text("""{"model_type":"gpt2"}"""),
        ["vocab.json"] = Text("{}"),
        ["merges.txt"] = Text("#version: 0.2\n"),
        ["model.safetensors"] = Random(20_000),
        ["pytorch_model.bin"] = Random(100, seed: 2),
        ["README.md"] = Text("# A toy"),
        ["training/optimizer.pt"] = Random(10, seed: 3),
    };

    private protected HubClient Client(Func<HubOptions, HubOptions>? change = null) => new(change?.Invoke(Options) ?? Options);

    public void Dispose()
    {
        Server.Check();
        Server.Dispose();
        folder.Dispose();
        GC.SuppressFinalize(this);
    }
}
