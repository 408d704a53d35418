# Joins the seed, writes and reads a row in PostgreSQL through the name that it
# was given, then says on port 4000 that it is ready, and stays.

defmodule Demo do
  def join(seed, tries \\ 120)
  def join(seed, _) when seed == node(), do: :ok
  def join(seed, 0), do: raise("#{seed} cannot be reached")

  def join(seed, tries) do
    case Node.connect(seed) do
      true -> :ok
      _ -> Process.sleep(250); join(seed, tries - 1)
    end
  end

  def connect do
    {:ok, db} =
      :pgsql.connect(
        host: String.to_charlist(System.fetch_env!("DB_HOST")),
        database: 'postgres', user: 'postgres',
        password: String.to_charlist(System.fetch_env!("DB_PASSWORD")),
        as_binary: true
      )
    db
  end

  # One advisory lock, so that five nodes do not create the table at once.
  def row(db) do
    {:ok, _} = :pgsql.squery(db, "select pg_advisory_lock(4000)")
    {:ok, _} = :pgsql.squery(db, "create table if not exists nodes (name text primary key, starts int not null)")
    {:ok, _} = :pgsql.squery(db, "select pg_advisory_unlock(4000)")
    {:ok, _} =
      :pgsql.squery(db, "insert into nodes values ('#{node()}', 1) on conflict (name) do update set starts = nodes.starts + 1")
    {:ok, [{_, _, [row]}]} = :pgsql.squery(db, "select name, starts from nodes where name = '#{node()}'")
    row
  end

  # A node that comes back, the seed too, and one that lost others on the way
  # finds all that were ever here.
  def meet do
    for [name, _] <- rows(), name != to_string(node()), do: Node.connect(String.to_atom(name))
    Process.sleep(3000)
    meet()
  catch
    _, _ -> Process.sleep(3000); meet()
  end

  # Whoever knocks sees that this node is there; nobody may be left waiting.
  def greet(door) do
    {:ok, guest} = :gen_tcp.accept(door)
    :gen_tcp.close(guest)
    greet(door)
  end

  def rows do
    db = connect()
    {:ok, [{_, _, rows}]} = :pgsql.squery(db, "select name, starts from nodes order by name")
    :pgsql.terminate(db)
    rows
  end
end

# The driver's password exchange needs stringprep's native part loaded.
for app <- [:stringprep, :p1_pgsql], do: {:ok, _} = Application.ensure_all_started(app)

[_, fqdn] = node() |> to_string() |> String.split("@")
[_, domain] = String.split(fqdn, ".", parts: 2)
Demo.join(:"app@#{System.fetch_env!("SEED")}.#{domain}")
db = Demo.connect()
IO.puts("#{node()}: row #{inspect(Demo.row(db))} through #{System.fetch_env!("DB_HOST")}")
spawn(fn -> Demo.meet() end)
{:ok, door} = :gen_tcp.listen(4000, reuseaddr: true)
spawn(fn -> Demo.greet(door) end)
IO.puts("#{node()}: ready, sees #{inspect(Enum.sort(Node.list()))}")
Process.sleep(:infinity)
