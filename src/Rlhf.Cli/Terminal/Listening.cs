using System.Net;
using System.Net.Sockets;
using Rlhf.Runtime;

namespace Rlhf.Cli.Terminal;

/// <summary>What verbs that serve have in common: where they listen, and what is said when they cannot.</summary>
internal static class Listening
{
    /// <summary>The address that --host names; null for what is none.</summary>
    public static IPAddress? Address(string? host) =>
        host is null or "localhost" ? IPAddress.Loopback : IPAddress.TryParse(host, out var address) ? address : null;

    /// <summary>What is wrong with --host, or null.</summary>
    public static string? Problem(string? host) =>
        Address(host) is null ? $"Host is {host}; it must be an address such as 127.0.0.1 or 0.0.0.0." : null;

    /// <summary>Starts a server.</summary>
    /// <exception cref="ConfigurationException">It cannot listen at the address and port.</exception>
    public static async Task StartAsync(Func<Task> start, IPAddress address, int port)
    {
        try
        {
            await start();
        }
        catch (SocketException e)
        {
            throw new ConfigurationException([$"The server cannot listen at --host {address}, --port {port}: {e.Message.TrimEnd('.')}. Name an address of this "
                + "machine, or 0.0.0.0 for all of them."]);
        }
        catch (IOException)
        {
            throw new ConfigurationException([$"--port {port} cannot be had at {address}: another program listens there. "
                + "Choose another, or 0 for any that is free."]);
        }
    }
}
