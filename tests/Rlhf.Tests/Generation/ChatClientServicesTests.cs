using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Rlhf.Generation;

namespace Rlhf.Tests.Generation;

/// <summary>A model as a service of a program.</summary>
public sealed class ChatClientServicesTests
{
    private static readonly string Shipped = Path.Combine(Fixtures.Repository(), "models", "imdb-gpt2-tiny");

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task It_is_loaded_once_answers_many_and_goes_with_the_services()
    {
        var services = new ServiceCollection().AddRlhfChatClient(Shipped, o => o.Batching = new() { MaxRows = 3 })
            .AddKeyedRlhfChatClient("other", Shipped, o => (o.ModelId, o.ChatTemplate) = ("named", "chatml"));
        var provider = services.BuildServiceProvider();
        var client = provider.GetRequiredService<IChatClient>();
        Assert.Same(client, provider.GetRequiredService<IChatClient>());
        Assert.Equal("imdb-gpt2-tiny", client.GetService<ChatClientMetadata>()!.DefaultModelId);
        using var completer = TextCompleter.FromPretrained(Shipped);
        string[] answers = await Task.WhenAll(Enumerable.Range(0, 6).Select(async i =>
            (await client.GetResponseAsync("This movie was", new() { Seed = i, MaxOutputTokens = 5 + i }, Stop)).Text));
        for (int i = 0; i < answers.Length; i++)
            Assert.Equal((await completer.CompleteAsync("This movie was", new() { Sampling = new() { MaxNewTokens = 5 + i }, Seed = i }, Stop)).Text, answers[i]);

        var other = provider.GetRequiredKeyedService<IChatClient>("other");
        Assert.NotSame(client, other);
        Assert.Equal("named", other.GetService<ChatClientMetadata>()!.DefaultModelId);
        Assert.NotNull(other.GetService<ChatCompleter>());
        await provider.DisposeAsync();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => client.GetResponseAsync("This", null, Stop));
    }

    [Theory]
    [InlineData("/nowhere/at/all", "/nowhere/at/all is neither a folder nor the id of a model of the Hub, such as org/name.")]
    [InlineData("not a name", "not a name is neither a folder nor the id of a model of the Hub, such as org/name.")]
    public void A_model_that_is_not_there_is_said_when_it_is_asked_for(string model, string message)
    {
        using var provider = new ServiceCollection().AddRlhfChatClient(model).BuildServiceProvider();
        Assert.Equal(message, Assert.Throws<DirectoryNotFoundException>(provider.GetRequiredService<IChatClient>).Message);
    }
}
